import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.monitoring.drift import PREDICTION, ColumnDrift, DriftReport
from trimtab.monitoring.health import BrokenColumn, broken_columns
from trimtab.monitoring.policy import DriftPolicy, important_columns, judge_drift
from trimtab.testing.shop import shop_sessions, shop_spec

SPEC = shop_spec()


def _report(**scores: float) -> DriftReport:
    columns = tuple(ColumnDrift(name, "distance", score, 0.1, score >= 0.1) for name, score in scores.items())
    return DriftReport(columns, 1_000, 1_000, "page.html")


def _calm(columns: int = 19) -> dict[str, float]:
    return {f"kpi_{number}": 0.02 for number in range(columns)}


def test_says_so_when_nothing_moved() -> None:
    decision = judge_drift(_report(**_calm()), policy=DriftPolicy())
    assert (decision.action, decision.detected) == ("none", False)
    assert decision.reasons == ("0 of 19 columns drifted, none of them important or far.",)


def test_one_important_column_in_twenty_is_enough() -> None:
    report = _report(lcp_ms=0.15, **_calm())
    assert judge_drift(report, policy=DriftPolicy()).action == "none"
    decision = judge_drift(report, policy=DriftPolicy(important=frozenset({"lcp_ms"})))
    assert decision.action == "retrain"
    assert "'lcp_ms', an important column, drifted" in decision.reasons[0]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"lcp_ms": 0.31}, "'lcp_ms' drifted far"),
        ({PREDICTION: 0.11}, "The model's answers drifted"),
        ({f"moved_{number}": 0.12 for number in range(7)}, "7 of 26 columns drifted, at least the 25%"),
    ],
)
def test_each_sign_is_enough(scores: dict[str, float], said: str) -> None:
    decision = judge_drift(_report(**scores, **_calm()), policy=DriftPolicy())
    assert (decision.action, decision.detected) == ("retrain", True)
    assert any(said in reason for reason in decision.reasons)


def test_a_broken_column_pages_someone_and_nothing_is_retrained() -> None:
    broken = BrokenColumn("lcp_ms", "all_missing", 0.0, 1.0)
    calm = judge_drift(_report(lcp_ms=0.9, **_calm()), broken=[broken], policy=DriftPolicy())
    assert (calm.action, calm.detected) == ("page", False)
    assert calm.reasons == ("'lcp_ms' has no values (before: 100%): a broken pipeline, not drift.",)
    both = judge_drift(_report(api_ms=0.9, **_calm()), broken=[broken], policy=DriftPolicy())
    assert (both.action, both.detected) == ("page", True)


@pytest.mark.parametrize("policy", [{"severe": 0.5}, {"share": 0.0}, {"share": 1.5}])
def test_refuses_a_policy_that_makes_no_sense(policy: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="drift policy"):
        DriftPolicy(**policy)  # type: ignore[arg-type]


def test_finds_the_column_that_the_label_hangs_on() -> None:
    sessions = shop_sessions(np.random.default_rng(1), SPEC)
    assert important_columns(sessions, SPEC, top=1) == frozenset({"lcp_ms"})
    assert important_columns(sessions, SPEC) == frozenset({"lcp_ms", "api_ms", "device"})


def test_finds_what_broke_and_only_that() -> None:
    before = shop_sessions(np.random.default_rng(1), SPEC, rows=500)
    same = shop_sessions(np.random.default_rng(2), SPEC, rows=500)
    assert broken_columns(before, same, SPEC) == ()
    now = same.assign(lcp_ms=np.nan, api_ms=same["api_ms"].where(np.arange(500) > 300)).drop(columns="device")
    found = {broken.column: broken.problem for broken in broken_columns(before, now, SPEC)}
    assert found == {"lcp_ms": "all_missing", "api_ms": "mostly_missing", "device": "absent"}
    stuck = broken_columns(before, same.assign(lcp_ms=7.0), SPEC)
    assert [(broken.column, broken.problem) for broken in stuck] == [("lcp_ms", "constant")]


def test_a_rare_event_that_did_not_happen_is_not_a_constant_column() -> None:
    before = shop_sessions(np.random.default_rng(1), SPEC, rows=500)
    before["api_ms"] = np.where(np.arange(500) == 0, 1.0, 0.0)
    now = before.iloc[100:200]
    assert broken_columns(before, now, SPEC) == ()


def test_does_not_blame_the_new_sessions_for_what_was_so_before() -> None:
    before = shop_sessions(np.random.default_rng(1), SPEC, rows=100).assign(lcp_ms=np.nan, api_ms=3.0)
    assert broken_columns(before, before, SPEC) == ()
    assert broken_columns(before.drop(columns="device"), pd.DataFrame(index=range(100)), SPEC)[0].column == "api_ms"
