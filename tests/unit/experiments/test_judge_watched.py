"""Watching without an end is judged by the always-valid p-value, not by that of one look."""

import pytest

from trimtab.testing.experiment_reports import METRICS, simulated_report

WATCHED = {"method": "always_valid", "planned_units": 20_000}


@pytest.mark.parametrize("seed", [34, 37])
def test_what_only_a_single_look_would_find_does_not_ship(seed: int) -> None:
    report = simulated_report(
        lifts={"control": 0.0, "treatment": 0.09},
        seed=seed,
        sequential=WATCHED,
        metrics={"conversion": METRICS["conversion"]},
        minimum_relative_effect=0.0,
    )
    found = report.comparison
    assert found is not None
    assert found.always_valid is not None
    assert found.p_value < 0.05, "a fixed test would ship it"
    assert found.always_valid.low < 0
    assert report.analysis.verdict.decision == "hold"
    statistical = next(line for line in report.analysis.verdict.arms[0].criteria if line.name == "statistical")
    assert statistical.status == "open"


def test_what_the_sequence_shows_ships() -> None:
    report = simulated_report(lifts={"control": 0.0, "treatment": 0.25}, sequential=WATCHED)
    found = report.comparison
    assert found is not None
    assert found.always_valid is not None
    assert found.always_valid.low > 0
    assert report.analysis.verdict.decision == "ship"


def test_several_treatments_share_the_error_rate() -> None:
    report = simulated_report(lifts={"control": 0.0, "A": 0.2, "B": 0.2}, share=1 / 3, users=30_000, sequential=WATCHED)
    for arm in report.analysis.verdict.arms:
        found = next(one for one in report.primary.comparisons if one.treatment == arm.treatment)
        assert found.always_valid is not None
        statistical = next(line for line in arm.criteria if line.name == "statistical")
        assert (statistical.status == "pass") == (2 * found.always_valid.p_value < 0.05)
