import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry

from serving.predictor.feature_log import FeatureLog
from serving.predictor.metrics import Metrics
from tests.unit.serving.conftest import KEY, MakeEngine
from trimtab.errors import BadInput
from trimtab.models.bundle import ConversionModel
from trimtab.sessions.privacy import pseudonym

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _log(path: Path, model: ConversionModel, metrics: Metrics, share: float = 1.0) -> FeatureLog:
    return FeatureLog(
        path,
        model="shop",
        version=4,
        encoder=model.manifest.encoder,
        share=share,
        rng=np.random.default_rng(1),
        metrics=metrics,
        now=lambda: NOW,
    )


def test_keeps_what_was_served_under_pseudonyms(
    tmp_path: Path, model: ConversionModel, metrics: Metrics, make_engine: MakeEngine
) -> None:
    log = _log(tmp_path / "logs" / "features.jsonl", model, metrics)
    engine = make_engine(feature_log=log)
    rows = [
        {"lcp_ms": 1800.0, "api_ms": None, "device": "mobile", "user_id": "ann"},
        {"lcp_ms": 900.0, "api_ms": 2.0, "device": "toaster"},
    ]
    answer = asyncio.run(engine.answer(engine.reader.instances({"instances": rows})))
    log.close()
    text = (tmp_path / "logs" / "features.jsonl").read_bytes()
    assert b'"ann"' not in text
    records: list[dict[str, Any]] = [orjson.loads(line) for line in text.splitlines()]
    assert [record["unit"] for record in records] == [pseudonym("ann", KEY), None]
    assert [record["probability"] for record in records] == answer.actions.probability.tolist()
    first = records[0]
    assert (first["at"], first["model"], first["version"], first["history"]) == (
        "2026-03-01T00:00:00+00:00", "shop", 4, "absent",
    )  # fmt: skip
    features = first["features"]
    assert set(features) == {*model.inputs.numeric, *model.inputs.categorical}
    assert (features["lcp_ms"], features["api_ms"], features["device"]) == (1800.0, None, "mobile")
    assert records[1]["features"]["device"] is None


def test_keeps_a_share(tmp_path: Path, model: ConversionModel, metrics: Metrics) -> None:
    log = _log(tmp_path / "features.jsonl", model, metrics, share=0.1)
    assert 60 < sum(log.wants() for _ in range(1_000)) < 140
    log.close()


def test_drops_and_counts_where_the_disk_is_slow(
    tmp_path: Path,
    model: ConversionModel,
    metrics: Metrics,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = _log(tmp_path / "features.jsonl", model, metrics)
    go = threading.Event()
    lines = log._lines
    monkeypatch.setattr(log, "_lines", lambda served: (go.wait(), lines(served))[1])
    numeric, codes = model.encode_rows([{"lcp_ms": 1.0, "api_ms": 2.0, "device": "mobile"}])
    actions = model.act_arrays(numeric, codes)
    for _ in range(1_100):
        log.put(numeric, codes, actions, units=[None], sources=["absent"])
    dropped = registry.get_sample_value("trimtab_predictor_feature_log_dropped_total") or 0
    go.set()
    log.close()
    assert dropped in (99, 100)
    assert len((tmp_path / "features.jsonl").read_bytes().splitlines()) == 1_100 - dropped


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, model: ConversionModel, metrics: Metrics) -> None:
    with pytest.raises(BadInput, match="cannot be written"):
        _log(tmp_path, model, metrics)
    with pytest.raises(BadInput, match="not between 0 and 1"):
        _log(tmp_path / "features.jsonl", model, metrics, share=2.0)
