from datetime import timedelta

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.sessions.history import KNOWN_AT, history_states
from trimtab.testing.feature_store import START, history_by_hand, visits_spec

AMOUNT = st.floats(0, 1e6)
VISIT = st.fixed_dictionaries(
    {
        "user_id": st.sampled_from(["ann", "bob", "cy"]),
        "began": st.integers(0, 200).map(lambda minute: pd.Timestamp(START) + timedelta(minutes=minute)),
        "bought": st.integers(0, 1),
        "revenue": AMOUNT,
        "lcp_ms": st.one_of(st.none(), AMOUNT),
        "seconds_on_site": st.one_of(st.none(), AMOUNT),
    }
)
NUMBERS = ["revenue", "lcp_ms", "seconds_on_site"]


@settings(max_examples=60, deadline=None)
@given(st.lists(VISIT, min_size=1, max_size=25))
def test_states_equal_plain_counting(rows: list[dict[str, object]]) -> None:
    frame = pd.DataFrame(rows).astype(dict.fromkeys(NUMBERS, np.float64))
    for state in history_states(frame, visits_spec()).to_dict("records"):
        expected = history_by_hand(frame, state["user_id"], state[KNOWN_AT])
        for name in expected.keys() & state.keys():
            np.testing.assert_allclose(float(state[name]), expected[name], rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(VISIT, min_size=2, max_size=25), st.integers(1, 24))
def test_later_sessions_never_change_earlier_states(rows: list[dict[str, object]], cut: int) -> None:
    frame = pd.DataFrame(rows).astype(dict.fromkeys(NUMBERS, np.float64)).sort_values("began", kind="stable")
    last = frame["began"].iloc[min(cut, len(frame)) - 1]
    past = history_states(frame[frame["began"] <= last], visits_spec())
    whole = history_states(frame, visits_spec())
    until = whole[whole[KNOWN_AT] <= past[KNOWN_AT].max()].reset_index(drop=True)
    pd.testing.assert_frame_equal(past, until)
