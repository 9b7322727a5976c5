"""The KServe model on a small trained bundle: v1 and v2, history from a real store's port, and what goes wrong."""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import kserve
import numpy as np
import pandas as pd
import pytest
from kserve.errors import InvalidInput

from serving.predictor.history import History
from serving.predictor.model import ConversionPredictor
from trimtab.models.bundle import ConversionModel
from trimtab.sessions.inputs import history_features
from trimtab.sessions.privacy import pseudonym
from trimtab.sessions.spec import DatasetSpec
from trimtab.testing.shop import shop_model, shop_sessions, shop_spec

SPEC = shop_spec()
KEY = b"a key of sixteen bytes"
ROW: dict[str, Any] = {"lcp_ms": 1800.0, "api_ms": None, "device": "mobile"}


class Store:
    """An online store that remembers what it was asked."""

    def __init__(self, *, seconds: float = 0.0, error: Exception | None = None) -> None:
        self.asked: list[tuple[list[str], list[datetime]]] = []
        self._seconds = seconds
        self._error = error

    def online(self, units: Sequence[str], spec: DatasetSpec, *, at: Sequence[datetime] | None = None) -> pd.DataFrame:
        time.sleep(self._seconds)
        if self._error:
            raise self._error
        self.asked.append((list(units), list(at or [])))
        return pd.DataFrame({name: np.full(len(units), 3.0) for name in history_features(spec)})


@pytest.fixture(scope="module")
def model() -> ConversionModel:
    rng = np.random.default_rng(5)
    return shop_model(shop_sessions(rng, SPEC, rows=1_500), SPEC, rng=rng)


def _predictor(
    model: ConversionModel, store: Store | None = None, deadline_seconds: float = 5.0
) -> ConversionPredictor:
    history = History(store, SPEC, deadline_seconds=deadline_seconds) if store else None  # type: ignore[arg-type]
    return ConversionPredictor(
        "shop", model=model, version=4, unit="user_id", timestamp="began", key=KEY, history=history
    )


def _ask(predictor: ConversionPredictor, payload: object) -> Any:
    return asyncio.run(predictor.predict(payload))


def test_is_ready_only_once_it_has_answered(model: ConversionModel) -> None:
    store = Store()
    predictor = _predictor(model, store)
    assert not predictor.ready
    predictor.load()
    assert predictor.ready
    assert len(store.asked) == 1


def test_answers_v1_as_the_model_does(model: ConversionModel) -> None:
    rows = [ROW, {**ROW, "lcp_ms": 9_000, "device": None}]
    answers = _ask(_predictor(model), {"instances": rows})["predictions"]
    expected = model.act(pd.DataFrame(rows))
    assert [answer["probability"] for answer in answers] == pytest.approx(expected.probability.tolist())
    assert [answer["uplift"] for answer in answers] == pytest.approx(expected.uplift.tolist())
    assert [answer["act"] for answer in answers] == expected.act.tolist()
    assert [(answer["version"], answer["history"]) for answer in answers] == [(4, "absent")] * 2


@pytest.mark.parametrize("binary", [False, True])
def test_answers_v2_as_it_answers_v1(model: ConversionModel, binary: bool) -> None:
    rows = [ROW, {**ROW, "api_ms": 250.0, "device": "desktop"}]
    inputs = []
    for name, kind in (("lcp_ms", "FP64"), ("api_ms", "FP64"), ("device", "BYTES")):
        values = [row[name] for row in rows]
        tensor = kserve.InferInput(name, [2], kind)
        tensor.set_data_from_numpy(
            np.array(values, dtype=object if kind == "BYTES" else np.float64), binary_data=binary
        )
        inputs.append(tensor)
    request = kserve.InferRequest("shop", inputs)
    response = _ask(_predictor(model), request)
    expected = _ask(_predictor(model), {"instances": rows})["predictions"]
    by_name = {output.name: output.as_numpy().tolist() for output in response.outputs}
    assert by_name["probability"] == pytest.approx([answer["probability"] for answer in expected])
    assert by_name["act"] == [answer["act"] for answer in expected]
    assert by_name["version"] == [4, 4]


@pytest.mark.parametrize(("shape", "data"), [([2, 2], [1.0, 2.0, 3.0, 4.0]), ([3], [1.0]), ([], []), ([1], ["text"])])
def test_refuses_a_tensor_that_is_no_column(model: ConversionModel, shape: list[int], data: list[object]) -> None:
    tensor = kserve.InferInput("lcp_ms", shape, "FP64", data=data)
    others = [kserve.InferInput(name, [1], kind, data=[value]) for name, kind, value in
              (("api_ms", "FP64", 1.0), ("device", "BYTES", "mobile"))]  # fmt: skip
    with pytest.raises(InvalidInput, match="lcp_ms"):
        _ask(_predictor(model), kserve.InferRequest("shop", [tensor, *others]))


def test_fetches_history_by_pseudonym_and_time(model: ConversionModel) -> None:
    store = Store()
    known = pseudonym("ann", KEY)
    rows = [
        {**ROW, "user_id": "ann", "began": "2026-03-01T12:00:00+00:00"},
        {**ROW, "user_id": known, "began": None},
        {**ROW, "user_id": None, "began": None},
    ]
    answers = _ask(_predictor(model, store), {"instances": rows})["predictions"]
    units, times = store.asked[0]
    assert units[:2] == [known, known]
    assert units[2] not in ("ann", known)
    assert times[0].isoformat() == "2026-03-01T12:00:00+00:00"
    assert {answer["history"] for answer in answers} == {"store"}


def test_prefers_the_history_that_the_request_carries(model: ConversionModel) -> None:
    store = Store()
    row = {**ROW, "user_id": "ann", **dict.fromkeys(history_features(SPEC), 2.0)}
    answer = _ask(_predictor(model, store), {"instances": [row]})["predictions"][0]
    assert answer["history"] == "request"
    assert store.asked == []


@pytest.mark.parametrize(
    ("store", "said"), [(Store(error=RuntimeError("gone")), "gone"), (Store(seconds=0.3), "TimeoutError")]
)
def test_answers_without_a_store_that_fails_or_is_slow(
    model: ConversionModel, store: Store, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = _predictor(model, store, deadline_seconds=0.05)
    logging.getLogger("kserve").propagate = True
    with caplog.at_level(logging.WARNING):
        answers = _ask(predictor, {"instances": [{**ROW, "user_id": "ann"}]})["predictions"]
    assert answers[0]["history"] == "absent"
    assert said in caplog.text


def test_a_slow_store_does_not_hold_up_other_requests(model: ConversionModel) -> None:
    predictor = _predictor(model, Store(seconds=0.5))

    async def both() -> list[str]:
        order: list[str] = []

        async def ask(name: str, row: dict[str, Any]) -> None:
            await predictor.predict({"instances": [row]})
            order.append(name)

        await asyncio.gather(ask("slow", {**ROW, "user_id": "ann"}), ask("quick", ROW))
        return order

    assert asyncio.run(both()) == ["quick", "slow"]


def test_a_bad_request_is_invalid_input_with_the_reason(model: ConversionModel) -> None:
    with pytest.raises(InvalidInput, match="lacks 'api_ms', 'device', 'lcp_ms'"):
        _ask(_predictor(model), {"instances": [{"a": 1}]})


def test_describes_its_columns(model: ConversionModel) -> None:
    predictor = _predictor(model)
    kinds = {column["name"]: column["datatype"] for column in predictor.get_input_types()}
    assert kinds == {"lcp_ms": "FP64", "api_ms": "FP64", "device": "BYTES", "user_id": "BYTES", "began": "BYTES"}
