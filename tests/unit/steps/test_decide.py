from datetime import timedelta
from pathlib import Path

import pytest

from trimtab.errors import BadInput
from trimtab.steps import decide
from trimtab.steps.results import perform, recall
from trimtab.testing.event_log import NOW
from trimtab.testing.ports import StepPorts
from trimtab.types import Event


def _log(ports: StepPorts, arm: str, users: int, conversions: int, *, minutes_later: int = 5) -> None:
    """Users of an arm, of whom the first few convert; each is exposed twice."""
    events = []
    for number in range(users):
        unit = f"{arm}-{number}"
        for visit in (1, 2):
            time = NOW + timedelta(hours=visit)
            events.append(Event(f"{unit}:{visit}", "exposure", "e", unit, time, arm=arm, version="1"))
        if number < conversions:
            time = NOW + timedelta(hours=1, minutes=minutes_later)
            events.append(Event(f"{unit}:c", "outcome", "e", unit, time, metric="conversion", value=1.0))
            events.append(Event(f"{unit}:v", "outcome", "e", unit, time, metric="value", value=30.0))
    ports.events.append(events)


@pytest.mark.parametrize(
    ("control", "treatment", "decision"), [(100, 160, "ship"), (160, 100, "roll_back"), (100, 105, "hold")]
)
def test_decides_by_what_was_logged(tmp_path: Path, control: int, treatment: int, decision: str) -> None:
    ports = StepPorts(tmp_path)
    _log(ports, "control", 1_000, control)
    _log(ports, "treatment", 1_000, treatment)
    result = perform(decide.run, decide.Config("e"), ports.as_ports(), run="r", stage="decide")
    assert recall(decide.Result, ports.as_ports(), run="r", stage="decide").result == result
    assert result.decision == decision
    assert [(arm.users, arm.conversions, arm.value) for arm in result.arms] == [
        (1_000, control, 30.0 * control),
        (1_000, treatment, 30.0 * treatment),
    ]
    assert result.absolute is not None
    assert result.absolute.estimate == pytest.approx((treatment - control) / 1_000)
    assert result.absolute.low < result.absolute.estimate < result.absolute.high
    assert result.relative is not None
    assert result.relative.estimate == pytest.approx(treatment / control - 1)


def test_no_data_is_a_hold(tmp_path: Path) -> None:
    result = decide.run(decide.Config("never"), StepPorts(tmp_path).as_ports())
    assert (result.decision, result.p_value, result.absolute) == ("hold", None, None)
    assert result.reasons == ("Not every arm has users (control 0, treatment 0).",)


def test_a_sample_ratio_mismatch_is_a_hold_however_good_the_effect(tmp_path: Path) -> None:
    ports = StepPorts(tmp_path)
    _log(ports, "control", 1_000, 100)
    _log(ports, "treatment", 700, 300)
    result = decide.run(decide.Config("e"), ports.as_ports())
    assert result.decision == "hold"
    assert "sample-ratio test" in result.reasons[0]
    planned = decide.run(decide.Config("e", weights={"control": 10, "treatment": 7}), ports.as_ports())
    assert planned.decision == "ship"


def test_what_happened_before_the_exposure_does_not_count(tmp_path: Path) -> None:
    ports = StepPorts(tmp_path)
    _log(ports, "control", 500, 100, minutes_later=-5)
    _log(ports, "treatment", 500, 100)
    result = decide.run(decide.Config("e"), ports.as_ports())
    assert [arm.conversions for arm in result.arms] == [0, 100]
    assert result.unexposed_outcomes == 200


def test_a_user_counts_where_first_exposed_and_moving_is_a_problem(tmp_path: Path) -> None:
    ports = StepPorts(tmp_path)
    _log(ports, "control", 500, 50)
    _log(ports, "treatment", 500, 100)
    moved = Event("m", "exposure", "e", "control-0", NOW + timedelta(days=1), arm="treatment", version="2")
    ports.events.append([moved])
    result = decide.run(decide.Config("e"), ports.as_ports())
    assert (result.decision, result.moved_users) == ("hold", 1)
    assert result.arms[0].users == 500


def test_shipping_may_ask_for_more(tmp_path: Path) -> None:
    ports = StepPorts(tmp_path)
    _log(ports, "control", 2_000, 400)
    _log(ports, "treatment", 2_000, 480)
    assert decide.run(decide.Config("e"), ports.as_ports()).decision == "ship"
    assert decide.run(decide.Config("e", minimum_relative_effect=0.5), ports.as_ports()).decision == "hold"


def test_alpha_is_checked(tmp_path: Path) -> None:
    ports = StepPorts(tmp_path)
    _log(ports, "control", 10, 1)
    _log(ports, "treatment", 10, 1)
    with pytest.raises(BadInput, match="alpha"):
        decide.run(decide.Config("e", alpha=1.5), ports.as_ports())
