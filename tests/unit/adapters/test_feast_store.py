import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore

from trimtab.adapters.feast import FeastFeatureStore
from trimtab.adapters.feast.config import repo_config
from trimtab.errors import BadInput
from trimtab.sessions.inputs import DAYS_SINCE_LAST, PRIOR_SESSIONS, history_features
from trimtab.testing.feature_store import START, visits, visits_spec

SPEC = visits_spec()
LONG_AFTER = START + timedelta(days=60)


def at(folder: Path) -> FeastFeatureStore:
    return FeastFeatureStore(
        folder,
        registry=f"{folder}/registry.db",
        online_store=f"sqlite:///{folder}/online.db",
        now=lambda: LONG_AFTER,
    )


def feast_at(folder: Path) -> FeatureStore:
    config = repo_config(
        "visits", folder, registry=f"{folder}/registry.db", online_store=f"sqlite:///{folder}/online.db"
    )
    return FeatureStore(config=config)


@pytest.fixture
def sessions() -> pd.DataFrame:
    return visits(np.random.default_rng(21))


def test_plain_feast_reads_the_same_with_times_and_types(tmp_path: Path, sessions: pd.DataFrame) -> None:
    ours = at(tmp_path)
    ours.prepare("0123456789abcdef", sessions, SPEC)
    ours.materialize(SPEC)
    feast = feast_at(tmp_path)
    entities = {"user_id": ["user-1", "stranger"], "request_epoch_seconds": [LONG_AFTER.timestamp()] * 2}
    answer = feast.get_online_features(feast.get_feature_service("visits"), entities)
    values = answer.to_dict(include_event_timestamps=True)
    ours_says = ours.online(["user-1"], SPEC).iloc[0]
    assert {name: values[name][0] for name in history_features(SPEC)} == ours_says.to_dict()
    assert [values[name][1] for name in history_features(SPEC) if name != DAYS_SINCE_LAST] == [None] * 5
    last = sessions.loc[sessions["user_id"] == "user-1", "began"].max() + timedelta(minutes=30)
    assert values[f"{PRIOR_SESSIONS}__ts"] == [int(last.timestamp()), 0]


def test_another_process_sees_what_was_prepared_after_it_started(tmp_path: Path, sessions: pd.DataFrame) -> None:
    reader, writer = at(tmp_path), at(tmp_path)
    writer.prepare("0123456789abcdef", sessions.head(100), SPEC)
    assert len(reader.training_frame(sessions, SPEC)) == len(sessions)
    writer.prepare("fedcba9876543210", sessions, SPEC)
    assert reader.materialize(SPEC) == sessions["user_id"].nunique()
    assert reader.online(["user-1"], SPEC).equals(writer.online(["user-1"], SPEC))


def test_incremental_materialisation_adds_what_is_new(tmp_path: Path, sessions: pd.DataFrame) -> None:
    ours = at(tmp_path)
    middle = START + timedelta(days=7)
    ours.prepare("0123456789abcdef", sessions[sessions["began"] < middle], SPEC)
    ours.materialize(SPEC)
    ours.prepare("fedcba9876543210", sessions, SPEC)
    feast_at(tmp_path).materialize(middle - timedelta(days=1), LONG_AFTER)
    units = sorted(sessions["user_id"].unique())
    by_parts = ours.online(units, SPEC)
    ours.materialize(SPEC)
    pd.testing.assert_frame_equal(by_parts, ours.online(units, SPEC))


def test_records_written_before_a_view_changed_are_still_read(tmp_path: Path, sessions: pd.DataFrame) -> None:
    ours = at(tmp_path)
    ours.prepare("0123456789abcdef", sessions, SPEC)
    ours.materialize(SPEC)
    before = ours.online(["user-1"], SPEC)
    kpi = {"role": "kpi", "direction": "lower", "layer": "backend", "known_at": "session_end"}
    raw = SPEC.model_dump(mode="json", exclude_defaults=True)
    wider = type(SPEC).model_validate({**raw, "columns": {"api_ms": kpi, **raw["columns"]}})
    ours.prepare("fedcba9876543210", sessions.assign(api_ms=1.0), wider)
    answer = at(tmp_path).online(["user-1"], wider)
    assert answer[before.columns.tolist()].equals(before)
    assert answer["prior_mean_api_ms"].isna().all()


def test_zones_do_not_matter(tmp_path: Path, sessions: pd.DataFrame) -> None:
    ours = at(tmp_path)
    ours.prepare("0123456789abcdef", sessions, SPEC)
    elsewhere = sessions.assign(began=sessions["began"].dt.tz_convert("Asia/Tokyo"))
    features = list(history_features(SPEC))
    assert ours.training_frame(elsewhere, SPEC)[features].equals(ours.training_frame(sessions, SPEC)[features])


def test_unequal_numbers_of_units_and_times_are_refused(tmp_path: Path, sessions: pd.DataFrame) -> None:
    ours = at(tmp_path)
    ours.prepare("0123456789abcdef", sessions, SPEC)
    with pytest.raises(BadInput, match="2 units but 1 request times"):
        ours.online(["user-1", "user-2"], SPEC, at=[datetime(2026, 1, 1, tzinfo=UTC)])


def test_other_online_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="mongodb"):
        repo_config("visits", tmp_path, registry="registry.db", online_store="mongodb://somewhere")


def test_only_the_adapter_loads_feast() -> None:
    modules = "trimtab, trimtab.runtime, trimtab.steps.features, trimtab.steps.materialize, trimtab.sessions.history"
    code = f"import sys, {modules}; sys.exit('feast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_server_reads_online_without_duckdb_and_ibis(tmp_path: Path, sessions: pd.DataFrame) -> None:
    ours = at(tmp_path)
    ours.prepare("0123456789abcdef", sessions, SPEC)
    ours.materialize(SPEC)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "sys.modules.update(dict.fromkeys(('duckdb', 'ibis', 'sqlglot')))  # importing one of them raises\n"
        "from trimtab.adapters.feast import FeastFeatureStore\n"
        "from trimtab.testing.feature_store import visits_spec\n"
        "folder = Path(sys.argv[1])\n"
        "store = FeastFeatureStore(\n"
        "    folder, registry=f'{folder}/registry.db', online_store=f'sqlite:///{folder}/online.db'\n"
        ")\n"
        "print(store.online(['user-1'], visits_spec()).iloc[0][sys.argv[2]])"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path), PRIOR_SESSIONS]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout) == (sessions["user_id"] == "user-1").sum()
