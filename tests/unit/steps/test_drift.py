from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.adapters.evidently import EvidentlyDriftReporter
from trimtab.errors import BadInput, NotFound
from trimtab.steps import drift
from trimtab.steps.results import perform, recall
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

SPEC = shop_spec()


@pytest.fixture
def ports(tmp_path: Path) -> StepPorts:
    return StepPorts(tmp_path / "home", drift=EvidentlyDriftReporter())


def _new(folder: Path, *, shift: float = 0.0, rows: int = 2_000, changes: dict[str, float] | None = None) -> str:
    path = folder / "new.parquet"
    frame = shop_sessions(np.random.default_rng(9), SPEC, rows=rows, shift=shift)
    frame["user_id"] = [f"user {number}" for number in range(rows)]
    frame.assign(**changes or {}).to_parquet(path)
    return str(path)


def _reference(ports: StepPorts) -> str:
    sessions = shop_sessions(np.random.default_rng(1), SPEC)
    return ports.snapshots.put(sessions, SPEC, source="shop.csv", rejected=0).id


def test_finds_nothing_where_nothing_changed(ports: StepPorts, tmp_path: Path) -> None:
    config = drift.Config(_reference(ports), _new(tmp_path))
    result = perform(drift.run, config, ports.as_ports(), run="r", stage="drift")
    assert recall(drift.Result, ports.as_ports(), run="r", stage="drift").result == result
    assert (result.detected, result.action, result.broken) == (False, "none", ())
    assert Path(result.page).is_file()


def test_finds_drift_in_columns_and_in_the_model_s_answers(ports: StepPorts, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    bundle = shop_bundle(tmp_path / "model", shop_sessions(rng, SPEC), SPEC, rng=rng)
    ports.registry.put("shop", 1, bundle, "champion")
    config = drift.Config(_reference(ports), _new(tmp_path, shift=0.8), model="shop")
    result = drift.run(config, ports.as_ports())
    assert (result.detected, result.action) == (True, "retrain")
    assert any("'lcp_ms'" in reason for reason in result.reasons)
    assert any("answers drifted" in reason for reason in result.reasons)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lcp_ms": 1_200.0}, "'lcp_ms' has the same value everywhere"),
        ({"lcp_ms": np.nan}, "lcp_ms"),
        ({"bought": 7}, "bought"),
    ],
)
def test_pages_someone_where_the_data_broke(
    ports: StepPorts, tmp_path: Path, changes: dict[str, float], said: str
) -> None:
    result = drift.run(drift.Config(_reference(ports), _new(tmp_path, changes=changes)), ports.as_ports())
    assert result.action == "page"
    assert said in result.reasons[0]
    assert "broken pipeline" in result.reasons[0]


def test_an_absent_column_is_a_finding_and_an_absent_file_an_error(ports: StepPorts, tmp_path: Path) -> None:
    reference = _reference(ports)
    path = _new(tmp_path)
    pd.read_parquet(path).drop(columns="device").to_parquet(path)
    result = drift.run(drift.Config(reference, path), ports.as_ports())
    assert result.action == "page"
    assert "'device'" in result.reasons[0]
    with pytest.raises(BadInput):
        drift.run(drift.Config(reference, str(tmp_path / "nothing.csv")), ports.as_ports())


def _changed_late(ports: StepPorts, column: str, value: float) -> drift.Result:
    """Drift within a snapshot whose last fifth has another value in one column; its rows lie in no order of time."""
    sessions = shop_sessions(np.random.default_rng(1), SPEC).sort_values("began")
    sessions[column] *= np.where(np.arange(len(sessions)) < 2_400, 1.0, value)
    shuffled = sessions.sample(frac=1, random_state=2, ignore_index=True)
    snapshot = ports.snapshots.put(shuffled, SPEC, source="shop.csv", rejected=0)
    return drift.run(drift.Config(snapshot.id), ports.as_ports())


def test_without_newer_sessions_the_last_fifth_is_compared_with_what_came_before(ports: StepPorts) -> None:
    result = _changed_late(ports, "lcp_ms", 1.5)
    assert result.report is not None
    assert (result.report.reference_rows, result.report.current_rows) == (2_400, 600)
    assert (result.action, [column.column for column in result.report.drifted]) == ("retrain", ["lcp_ms"])


def test_a_column_that_broke_late_is_not_drift_either(ports: StepPorts) -> None:
    result = _changed_late(ports, "api_ms", np.nan)
    assert result.action == "page"
    assert "'api_ms' has no values" in result.reasons[0]


def test_without_a_snapshot_the_champion_s_is_the_reference(ports: StepPorts, tmp_path: Path) -> None:
    snapshot = _reference(ports)
    spec = str(ports.snapshots.folder(snapshot) / "spec.yaml")
    shifted = ports.snapshots.put(shop_sessions(np.random.default_rng(2), SPEC, shift=0.8), SPEC, source="", rejected=0)
    ports.registry.put("shop", 1, "")
    ports.registry.put("shop", 2, "")
    ports.registry.set_tags("shop", 1, {"snapshot_id": snapshot})
    ports.registry.set_tags("shop", 2, {"snapshot_id": shifted.id})
    actions = []
    for champion in (1, 2):
        ports.registry.set_alias("shop", "champion", champion)
        actions.append(drift.run(drift.Config(data=_new(tmp_path, shift=0.8), spec=spec), ports.as_ports()).action)
    assert actions == ["retrain", "none"]


def test_a_version_that_tells_of_no_snapshot_asks_for_one(ports: StepPorts, tmp_path: Path) -> None:
    ports.registry.put("shop", 1, "", "champion")
    with pytest.raises(NotFound, match="tells of no snapshot"):
        drift.run(drift.Config(data=_new(tmp_path), model="shop"), ports.as_ports())
    with pytest.raises(BadInput, match="neither a snapshot nor a model"):
        drift.run(drift.Config(data=_new(tmp_path)), ports.as_ports())
