import math

import pytest

from trimtab.experiments.always_valid import confidence_sequence_multiplier
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.over_time import over_time, trend_sentence
from trimtab.report.experiment.timeline import timeline
from trimtab.testing.experiment_reports import simulated_report


def test_the_last_day_is_the_whole_experiment(shipped: ExperimentReport) -> None:
    line, found = timeline(shipped), shipped.comparison
    assert line is not None
    assert found is not None
    assert line.kind == "fixed"
    assert line.days[-1].estimate == pytest.approx(found.absolute.estimate)
    assert line.days[-1].units == sum(arm.units for arm in shipped.primary.arms.values())


def test_the_newest_look_is_the_one_that_the_analysis_judged(sequential: ExperimentReport) -> None:
    line, found = timeline(sequential), sequential.comparison
    assert line is not None
    assert found is not None
    assert found.sequential is not None
    assert line.kind == "sequential"
    assert [look.day for look in line.looks] == ["2026-09-10", "2026-09-14", "2026-09-20"]
    newest = line.looks[-1]
    assert newest.bound == pytest.approx(found.sequential.look.bound)
    assert newest.statistic == pytest.approx(found.sequential.statistic)
    assert newest.estimate + newest.reach == pytest.approx(found.sequential.repeated_high, rel=1e-2)


def test_bounds_fall_as_information_grows(sequential: ExperimentReport) -> None:
    line = timeline(sequential)
    assert line is not None
    bounds = [look.bound for look in line.looks]
    assert bounds == sorted(bounds, reverse=True)
    crossed = [abs(look.estimate) >= look.reach for look in line.looks]
    assert crossed == [abs(look.statistic) >= look.bound for look in line.looks]


def test_watching_draws_the_confidence_sequence(watched: ExperimentReport) -> None:
    line, found = timeline(watched), watched.comparison
    assert line is not None
    assert found is not None
    assert found.always_valid is not None
    assert line.kind == "always"
    last = line.days[-1]
    assert (last.low, last.high) == pytest.approx((found.always_valid.low, found.always_valid.high))
    error = watched.days[0].cumulative.standard_error
    half = confidence_sequence_multiplier(line.days[0].units, optimised_for=20_000) * error
    assert line.days[0].high - line.days[0].estimate == pytest.approx(half)


def test_one_side_is_open() -> None:
    report = simulated_report(alternative="one-sided")
    line = timeline(report)
    assert line is not None
    assert {point.high for point in line.days} == {math.inf}
    assert "<svg" in over_time(report).blocks[0].svg  # type: ignore[union-attr]


def test_without_time_there_is_a_sentence_instead_of_a_chart() -> None:
    report = simulated_report(time=None)
    assert timeline(report) is None
    (only,) = over_time(report).blocks
    assert "is not known" in only.text  # type: ignore[union-attr]
    assert "Too few days" in trend_sentence(report)


def test_a_trend_is_told_in_points(shipped: ExperimentReport) -> None:
    slope = shipped.analysis.health.novelty["treatment"].slope
    assert f"{abs(100 * slope):.2f} points a day" in trend_sentence(shipped)
