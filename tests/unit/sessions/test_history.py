import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.sessions.history import (
    KNOWN_AT,
    LAST_SESSION,
    SESSION_LENGTH,
    days_since,
    epoch_seconds,
    history_states,
    kpi_state,
    unit_state,
)
from trimtab.sessions.inputs import DAYS_SINCE_LAST, history_features
from trimtab.sessions.spec import DatasetSpec
from trimtab.testing.feature_store import visits, visits_spec

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def three_visits() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "user_id": ["ann", "bob", "ann", "ann"],
            "began": [START, START, START + timedelta(days=1), START + timedelta(days=3)],
            "bought": [1, 0, 0, 1],
            "revenue": [30.0, 0.0, 0.0, 60.0],
            "lcp_ms": [1000.0, 5.0, np.nan, 2000.0],
            "seconds_on_site": [np.nan, 1.0, 50.0, 70.0],
        }
    )


def test_state_after_each_session() -> None:
    states = history_states(three_visits(), visits_spec())
    ann = states[states["user_id"] == "ann"].reset_index(drop=True)
    assert ann["prior_sessions"].tolist() == [1.0, 2.0, 3.0]
    assert ann["prior_conversions"].tolist() == [1.0, 1.0, 2.0]
    assert ann["prior_conversion_rate"].tolist() == [1.0, 0.5, 2 / 3]
    assert ann["prior_value_mean"].tolist() == [30.0, 15.0, 30.0]
    assert ann["prior_mean_lcp_ms"].tolist() == [1000.0, 1000.0, 1500.0]
    assert math.isnan(ann["prior_mean_seconds_on_site"][0])
    assert ann["prior_mean_seconds_on_site"].tolist()[1:] == [50.0, 60.0]
    assert ann[LAST_SESSION].tolist() == [(START + timedelta(days=day)).timestamp() for day in (0, 1, 3)]


def test_state_is_known_once_the_session_is_over() -> None:
    states = history_states(three_visits(), visits_spec())
    assert states[KNOWN_AT].iloc[0] == pd.Timestamp(START + SESSION_LENGTH)
    assert str(states[KNOWN_AT].dtype) == "datetime64[us, UTC]"


def test_columns_are_unit_time_and_states() -> None:
    spec = visits_spec()
    assert history_states(three_visits(), spec).columns.tolist() == [
        "user_id",
        KNOWN_AT,
        *unit_state(spec),
        *kpi_state(spec),
    ]


def test_every_feature_of_a_model_is_kept_or_derived() -> None:
    spec = visits_spec()
    kept = {*unit_state(spec), *kpi_state(spec)}
    assert set(history_features(spec)) - kept == {DAYS_SINCE_LAST}


def test_order_of_rows_does_not_matter() -> None:
    frame = visits(np.random.default_rng(1)).drop_duplicates(["user_id", "began"])
    shuffled = frame.sample(frac=1.0, random_state=2)
    pd.testing.assert_frame_equal(
        history_states(frame, visits_spec()), history_states(shuffled, visits_spec()), check_exact=False, rtol=1e-12
    )


def test_other_units_do_not_matter() -> None:
    frame = visits(np.random.default_rng(1))
    alone = history_states(frame[frame["user_id"] == "user-7"], visits_spec())
    among = history_states(frame, visits_spec())
    pd.testing.assert_frame_equal(among[among["user_id"] == "user-7"].reset_index(drop=True), alone)


def test_sessions_of_one_moment_change_the_state_once() -> None:
    frame = three_visits().assign(began=START)
    states = history_states(frame, visits_spec())
    assert states["user_id"].tolist() == ["ann", "bob"]
    assert states["prior_sessions"].tolist() == [3.0, 1.0]


def test_rows_without_unit_or_time_are_nobodys() -> None:
    frame = three_visits()
    frame.loc[0, "user_id"] = None
    frame.loc[2, "began"] = pd.NaT
    states = history_states(frame, visits_spec())
    assert states["user_id"].tolist() == ["ann", "bob"]
    assert states["prior_sessions"].tolist() == [1.0, 1.0]


def test_no_rows_give_no_states() -> None:
    states = history_states(three_visits().head(0), visits_spec())
    assert states.empty
    assert unit_state(visits_spec())[0] in states


def test_value_is_left_out_where_the_spec_has_none() -> None:
    columns = {name: column for name, column in visits_spec().columns.items() if name != "revenue"}
    spec = visits_spec().model_copy(update={"columns": columns})
    assert "prior_value_mean" not in history_states(three_visits(), spec)


@pytest.mark.parametrize("role", ["user_id", "began"])
def test_unit_and_timestamp_are_needed(role: str) -> None:
    columns = {name: column for name, column in visits_spec().columns.items() if name != role}
    spec: DatasetSpec = visits_spec().model_copy(update={"columns": columns})
    with pytest.raises(BadInput, match=r"visits.*history"):
        history_states(three_visits(), spec)


def test_epoch_seconds_keeps_microseconds_and_missing() -> None:
    times = pd.Series([pd.Timestamp("1970-01-02T01:00:00.000001+01:00"), pd.NaT])
    assert epoch_seconds(times).tolist()[0] == pytest.approx(86_400.000001, abs=1e-9)
    assert math.isnan(epoch_seconds(times)[1])


def test_days_since_takes_none_for_missing() -> None:
    last: Any = [0.0, None]
    days = days_since(last, [43_200.0, 1.0])
    assert days[0] == 0.5
    assert math.isnan(days[1])
