"""`trimtab serve`: a champion answers on a port what the same model answers offline, and says why it does not."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import orjson
import pandas as pd
import pytest

from trimtab import runtime
from trimtab.models.bundle import ConversionModel
from trimtab.ports import Ports

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

MODEL = "ux_sessions"
USERS = 50


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from trimtab.cli import main; main()", *arguments, "--json"]


def _trimtab(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(_command(*arguments), check=False, capture_output=True, timeout=200)


@dataclass(frozen=True)
class Served:
    """A champion on a port."""

    ports: Ports
    port: int
    announced: dict[str, Any]

    def post(self, path: str, body: object) -> httpx.Response:
        headers = {"content-type": "application/json"}  # without it KServe expects v2 tensors in binary
        with httpx.Client(trust_env=False, timeout=30.0, headers=headers) as client:
            return client.post(f"http://127.0.0.1:{self.port}{path}", content=orjson.dumps(body))

    def predict(self, *instances: dict[str, Any]) -> httpx.Response:
        return self.post(f"/v1/models/{MODEL}:predict", {"instances": instances})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with pytest.MonkeyPatch.context() as patch, (folder / "log.txt").open("wb") as log:
        patch.setenv("TRIMTAB_HOME", str(folder / "home"))
        patch.setenv("OMP_NUM_THREADS", "1")
        assert _trimtab("simulate", "--out", str(folder), "--sessions", "3000").returncode == 0
        trained = _trimtab("pipeline", "run", "--data", str(folder / "sessions.parquet"), "--spec", MODEL,
                           "--set", "kind=logistic", "--set", "trials=0")  # fmt: skip
        assert trained.returncode == 0, trained.stderr.decode()
        process = subprocess.Popen(
            _command("serve", f"{MODEL}@champion", "--port", str(port), "--feature-deadline-ms", "5000"),
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert process.stdout is not None
            announced = b"".join(iter(process.stdout.readline, b"}\n")) + b"}"  # complete once it listens
            yield Served(runtime.load("local"), port, orjson.loads(announced))
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture(scope="module")
def model(served: Served) -> ConversionModel:
    registry = served.ports.registry
    return ConversionModel.load(registry.download(registry.resolve(MODEL, "champion")))


@pytest.fixture(scope="module")
def visits(served: Served) -> pd.DataFrame:
    """A next session of some users, with what was known about each user before it."""
    version = served.ports.registry.resolve(MODEL, "champion")
    sessions, spec = served.ports.snapshots.read(version.tags["snapshot_id"])
    later = sessions.drop_duplicates("user_id", keep="last").tail(USERS)
    later = later.assign(started_at=sessions["started_at"].max() + pd.Timedelta(hours=5))
    both = pd.concat([sessions, later], ignore_index=True)
    return served.ports.features.training_frame(both, spec).tail(USERS)


def _instances(frame: pd.DataFrame, *columns: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = orjson.loads(frame[list(columns)].to_json(orient="records", double_precision=15))
    return rows


def test_announces_where_it_listens(served: Served) -> None:
    url = f"http://127.0.0.1:{served.port}/v1/models/{MODEL}:predict"
    assert served.announced == {"model": MODEL, "version": 1, "url": url}


def test_a_user_is_answered_as_offline(served: Served, model: ConversionModel, visits: pd.DataFrame) -> None:
    visits = visits.assign(started_at=visits["started_at"].astype(str))
    answers = served.predict(*_instances(visits, *model.inputs.request, "user_id", "started_at")).json()["predictions"]
    assert {answer["history"] for answer in answers} == {"store"}
    online = np.array([answer["probability"] for answer in answers])
    np.testing.assert_allclose(online, model.predict(visits, treatment=0), atol=1e-6)
    # The history matters, or the test would prove nothing.
    assert np.abs(online - model.predict(visits[list(model.inputs.request)], treatment=0)).max() > 0.001


def test_v2_answers_as_v1(served: Served, model: ConversionModel, visits: pd.DataFrame) -> None:
    rows = _instances(visits.head(3), *model.inputs.request)
    tensors = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": "BYTES" if name in model.inputs.categorical else "FP64",
            "data": [row[name] for row in rows],
        }
        for name in model.inputs.request
    ]
    answer = served.post(f"/v2/models/{MODEL}/infer", {"inputs": tensors})
    assert answer.status_code == 200, answer.text
    probability = next(output["data"] for output in answer.json()["outputs"] if output["name"] == "probability")
    answers = served.predict(*rows).json()["predictions"]
    np.testing.assert_allclose(probability, [answer["probability"] for answer in answers], rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lcp_ms": "fast"}, "'lcp_ms' of instance 0 is 'fast', not a number or null"),
        ({"device": ["mobile"]}, "'device' of instance 0"),
        ({"started_at": "2026-03-01T10:00:00"}, "without a zone"),
    ],
    ids=str,
)
def test_a_wrong_value_is_a_400_with_the_reason(
    change: dict[str, Any], reason: str, served: Served, model: ConversionModel, visits: pd.DataFrame
) -> None:
    (row,) = _instances(visits.head(1), *model.inputs.request)
    answer = served.predict({**row, **change})
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def test_an_absent_column_is_named_and_null_is_fine(
    served: Served, model: ConversionModel, visits: pd.DataFrame
) -> None:
    (row,) = _instances(visits.head(1), *model.inputs.request)
    absent = served.predict({name: value for name, value in row.items() if name != "lcp_ms"})
    assert (absent.status_code, "lacks 'lcp_ms'" in absent.json()["error"]) == (400, True)
    assert served.predict({**row, "lcp_ms": None}).status_code == 200


def test_a_taken_port_is_told_and_nothing_is_announced(served: Served) -> None:
    second = _trimtab("serve", f"{MODEL}@champion", "--port", str(served.port))
    assert (second.returncode, second.stdout) == (3, b"")
    assert "cannot be bound" in orjson.loads(second.stderr)["error"]["message"]


def test_an_unknown_model_is_told(served: Served) -> None:
    second = _trimtab("serve", "absent@champion", "--port", str(served.port))
    assert (second.returncode, second.stdout) == (2, b"")
    assert "absent" in orjson.loads(second.stderr)["error"]["message"]
