"""What every `FeatureStore` must do: subclass the suite and give it a `store` fixture.

class TestMyStore(FeatureStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FeatureStore: ...
"""

import asyncio
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput, NotFound
from trimtab.ports import FeatureStore
from trimtab.sessions.history import SESSION_LENGTH, history_states, kpi_state, unit_state
from trimtab.sessions.inputs import (
    DAYS_SINCE_LAST,
    PRIOR_CONVERSIONS,
    PRIOR_MEAN_PREFIX,
    PRIOR_SESSIONS,
    PRIOR_VALUE_MEAN,
    history_features,
)
from trimtab.sessions.spec import DatasetSpec

START = datetime(2026, 3, 1, tzinfo=UTC)


def visits_spec(name: str = "visits") -> DatasetSpec:
    """A spec with a unit, a timestamp, a value, a request-time KPI and one that is known only at session end."""
    kpi = {"role": "kpi", "direction": "lower", "layer": "frontend"}
    return DatasetSpec.model_validate(
        {
            "name": name,
            "columns": {
                "user_id": {"role": "unit"},
                "began": {"role": "timestamp"},
                "bought": {"role": "label"},
                "revenue": {"role": "value"},
                "lcp_ms": kpi,
                "seconds_on_site": {**kpi, "known_at": "session_end"},
            },
        }
    )


def visits(rng: np.random.Generator, *, rows: int = 400, users: int = 60, start: datetime = START) -> pd.DataFrame:
    """Sessions of returning users in no order, some of them at the same moment and some with missing KPIs."""
    offsets = pd.to_timedelta(rng.integers(0, 20_000, rows) * 60, unit="s")
    frame = pd.DataFrame(
        {
            "user_id": [f"user-{number}" for number in rng.integers(0, users, rows)],
            "began": pd.Timestamp(start) + offsets,
            "bought": rng.integers(0, 2, rows),
            "revenue": rng.gamma(2.0, 20.0, rows),
            "lcp_ms": rng.gamma(4.0, 500.0, rows),
            "seconds_on_site": np.where(rng.random(rows) < 0.2, np.nan, rng.gamma(2.0, 60.0, rows)),
        }
    )
    return pd.concat([frame, frame.iloc[:5].assign(bought=1)], ignore_index=True)


def history_by_hand(frame: pd.DataFrame, unit: str, at: pd.Timestamp) -> dict[str, float]:
    """The history features of one unit at one time, from the rows themselves: slow and plain."""
    earlier = frame[(frame["user_id"] == unit) & (frame["began"] + SESSION_LENGTH <= at)]
    if earlier.empty:
        return {PRIOR_SESSIONS: 0.0, PRIOR_CONVERSIONS: 0.0}
    return {
        PRIOR_SESSIONS: float(len(earlier)),
        PRIOR_CONVERSIONS: float(earlier["bought"].sum()),
        "prior_conversion_rate": float(earlier["bought"].mean()),
        PRIOR_VALUE_MEAN: float(earlier["revenue"].mean()),
        DAYS_SINCE_LAST: (at - earlier["began"].max()) / timedelta(days=1),
        PRIOR_MEAN_PREFIX + "seconds_on_site": float(earlier["seconds_on_site"].mean()),
    }


class FeatureStoreContract:
    """The suite."""

    @pytest.fixture
    def spec(self) -> DatasetSpec:
        """The dataset of the suite."""
        return visits_spec()

    @pytest.fixture
    def sessions(self) -> pd.DataFrame:
        """The sessions of the suite."""
        return visits(np.random.default_rng(11))

    @pytest.fixture
    def prepared(self, store: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec) -> FeatureStore:
        """A store that knows the sessions offline."""
        store.prepare("0123456789abcdef", sessions, spec)
        return store

    def test_training_history_is_that_before_each_session(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """Each row's history is what was known as it began; rows, their order and their index stay."""
        shuffled = sessions.sample(frac=1.0, random_state=5)
        frame = prepared.training_frame(shuffled, spec)
        pd.testing.assert_frame_equal(frame[shuffled.columns.tolist()], shuffled)
        expected = pd.DataFrame(
            [
                history_by_hand(sessions, unit, began)
                for unit, began in zip(shuffled["user_id"], shuffled["began"], strict=True)
            ],
            index=shuffled.index,
            columns=list(history_features(spec)),
        )
        pd.testing.assert_frame_equal(frame[list(history_features(spec))], expected)

    def test_rows_without_unit_or_time_have_no_history(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """They are kept, as those of a unit never seen."""
        frame = sessions.tail(3).copy()
        frame["user_id"] = [None, frame["user_id"].iloc[1], "nobody"]
        frame.loc[frame.index[1], "began"] = pd.NaT
        history = prepared.training_frame(frame, spec)[list(history_features(spec))]
        assert history[PRIOR_SESSIONS].tolist() == [0.0, 0.0, 0.0]
        assert history.drop(columns=[PRIOR_SESSIONS, PRIOR_CONVERSIONS]).isna().all(axis=None)

    def test_online_equals_offline_for_every_unit(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """What a server reads now is what the point-in-time join says of now."""
        now = START + timedelta(days=60)
        units = sorted(sessions["user_id"].unique())
        assert prepared.materialize(spec) == len(units)
        online = prepared.online(units, spec, at=[now] * len(units))
        requests = sessions.drop_duplicates("user_id").sort_values("user_id").assign(began=pd.Timestamp(now))
        offline = prepared.training_frame(requests, spec)[list(history_features(spec))]
        pd.testing.assert_frame_equal(online, offline.reset_index(drop=True))

    def test_online_keeps_order_repeats_and_strangers(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """One row per asked unit; a unit never seen is no error."""
        prepared.materialize(spec)
        known = sessions["user_id"].iloc[0]
        answer = prepared.online(["stranger", known, known], spec)
        assert answer[PRIOR_SESSIONS].iloc[0] == 0.0
        assert answer.iloc[0].drop([PRIOR_SESSIONS, PRIOR_CONVERSIONS]).isna().all()
        assert answer[PRIOR_SESSIONS].iloc[1] == answer[PRIOR_SESSIONS].iloc[2] >= 1.0
        assert prepared.online([], spec).columns.tolist() == list(history_features(spec))

    def test_asynchronous_reads_give_the_same(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """Both ways of asking agree, also from several event loops."""
        prepared.materialize(spec)
        units, at = sessions["user_id"].head(7).tolist(), [START + timedelta(days=30)] * 7
        expected = prepared.online(units, spec, at=at)

        async def ask() -> pd.DataFrame:
            answer = await prepared.online_async(units, spec, at=at)
            await prepared.close()
            return answer

        for _ in range(2):
            pd.testing.assert_frame_equal(asyncio.run(ask()), expected)

    def test_materialising_again_changes_nothing(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """It is idempotent."""
        units, at = sorted(sessions["user_id"].unique()), START + timedelta(days=60)
        prepared.materialize(spec)
        before = prepared.online(units, spec, at=[at] * len(units))
        prepared.materialize(spec)
        pd.testing.assert_frame_equal(prepared.online(units, spec, at=[at] * len(units)), before)

    def test_another_snapshot_takes_the_place_of_the_first(self, prepared: FeatureStore, spec: DatasetSpec) -> None:
        """Nothing of the old data stays online, though it is newer."""
        prepared.materialize(spec)
        older = visits(np.random.default_rng(12), rows=50, users=5, start=START - timedelta(days=90))
        prepared.prepare("fedcba9876543210", older, spec)
        prepared.materialize(spec)
        units = [f"user-{number}" for number in range(60)]
        counts = older["user_id"].value_counts().reindex(units).fillna(0.0)
        assert prepared.online(units, spec)[PRIOR_SESSIONS].tolist() == counts.tolist()

    def test_push_updates_a_unit_and_survives_materialising(self, prepared: FeatureStore, spec: DatasetSpec) -> None:
        """A state newer than the snapshot stays; an older one changes nothing."""
        prepared.materialize(spec)
        began = START + timedelta(days=40)
        state = {
            "user_id": "user-1", "began": began, PRIOR_SESSIONS: 99.0, PRIOR_CONVERSIONS: 9.0,
            "prior_conversion_rate": 1 / 11, PRIOR_VALUE_MEAN: 5.0,
        }  # fmt: skip
        stale = {**state, "began": began - timedelta(days=1), PRIOR_SESSIONS: 98.0}
        before = prepared.online(["user-1"], spec)
        prepared.push(pd.DataFrame([state]), spec)
        prepared.push(pd.DataFrame([stale]), spec)
        for _ in range(2):
            answer = prepared.online(["user-1"], spec, at=[began + timedelta(days=2)])
            assert answer[PRIOR_SESSIONS].tolist() == [99.0]
            assert answer[DAYS_SINCE_LAST].tolist() == [2.0]
            late = PRIOR_MEAN_PREFIX + "seconds_on_site"
            assert answer[late].equals(before[late])
            prepared.materialize(spec)

    def test_push_of_whole_states_equals_materialising_them(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """The states that `history_states` gives can be pushed as they are, KPIs too."""
        latest = history_states(sessions, spec).groupby("user_id").tail(1)
        rows = latest.assign(began=latest["event_timestamp"] - SESSION_LENGTH)
        units, at = rows["user_id"].tolist(), [START + timedelta(days=50)] * len(rows)
        prepared.push(rows[["user_id", "began", *unit_state(spec)[:-1], *kpi_state(spec)]], spec)
        pushed = prepared.online(units, spec, at=at)
        prepared.materialize(spec)
        pd.testing.assert_frame_equal(pushed, prepared.online(units, spec, at=at))

    def test_push_names_the_columns_that_it_lacks(self, prepared: FeatureStore, spec: DatasetSpec) -> None:
        """A wrong push is the caller's mistake."""
        with pytest.raises(BadInput, match=f"{PRIOR_SESSIONS}.*{PRIOR_VALUE_MEAN}"):
            prepared.push(pd.DataFrame({"user_id": ["a"], "began": [START], PRIOR_CONVERSIONS: [1.0]}), spec)

    def test_a_version_has_a_service_of_its_own(
        self, prepared: FeatureStore, sessions: pd.DataFrame, spec: DatasetSpec
    ) -> None:
        """It answers by that name, and is not there before it was added."""
        prepared.materialize(spec)
        unit, at = [sessions["user_id"].iloc[0]], [START + timedelta(days=30)]
        with pytest.raises(NotFound, match="visits_v3"):
            prepared.online(unit, spec, version=3)
        assert prepared.add_service(spec, 3) == "visits_v3"
        pd.testing.assert_frame_equal(prepared.online(unit, spec, at=at, version=3), prepared.online(unit, spec, at=at))

    def test_two_datasets_do_not_mix(self, prepared: FeatureStore, spec: DatasetSpec) -> None:
        """Equal units of another spec have a history of their own."""
        other = visits_spec("other")
        prepared.prepare("1111111111111111", visits(np.random.default_rng(3), rows=20, users=2), other)
        prepared.materialize(spec)
        prepared.materialize(other)
        assert prepared.online(["user-30"], other)[PRIOR_SESSIONS].tolist() == [0.0]
        assert prepared.online(["user-30"], spec)[PRIOR_SESSIONS].iloc[0] > 0.0

    def test_unknown_history_is_named(self, store: FeatureStore, spec: DatasetSpec, sessions: pd.DataFrame) -> None:
        """Before a snapshot is prepared there is nothing to train on, load or read."""
        with pytest.raises(NotFound, match="visits"):
            store.training_frame(sessions, spec)
        with pytest.raises(NotFound, match="visits"):
            store.materialize(spec)
        with pytest.raises(NotFound, match="visits"):
            store.online(["user-1"], spec)

    def test_data_without_units_have_no_history(self, store: FeatureStore, sessions: pd.DataFrame) -> None:
        """Preparing says so; training data come back as they are."""
        columns = {name: column for name, column in visits_spec().columns.items() if name != "user_id"}
        spec = visits_spec().model_copy(update={"columns": columns})
        with pytest.raises(BadInput, match="unit"):
            store.prepare("0123456789abcdef", sessions, spec)
        pd.testing.assert_frame_equal(store.training_frame(sessions, spec), sessions)
