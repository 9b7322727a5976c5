from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.assignment import assign
from trimtab.rollout.plan import CONTROL, TREATMENT
from trimtab.rollout.route import Target, dump_route, parse_route
from trimtab.rollout.state import begin, dump_state, experiment_of, parse_state, route_of
from trimtab.testing.rollout_store import START, plan_of, started

TARGETS = {CONTROL: Target("http://a", "conversion", 3), TREATMENT: Target("http://b", "conversion", 4)}
STEPS = tuple(START + timedelta(hours=hour) for hour in (1, 2, 3))
UNITS = [f"u{number}" for number in range(20_000)]


def test_no_unit_changes_its_arm_while_the_ramp_grows() -> None:
    """Those who take part keep their arm, and the treatment's share of everyone is the step's weight."""
    state = replace(started(plan_of()), status="ramping", step=2, shadowed=START, steps=STEPS)
    route = route_of(plan_of(), state, TARGETS)
    before = np.full(len(UNITS), "", dtype=object)
    for step, moment in enumerate(STEPS):
        experiment = route.experiment_at(moment)
        assert experiment is not None
        arms = assign(UNITS, experiment)
        assert (arms[before != ""] == before[before != ""]).all()
        assert np.mean(arms == TREATMENT) == pytest.approx(plan_of().ramp[step].weight, abs=0.01)
        before = arms


def test_the_shadow_meets_nobody_and_control_is_logged() -> None:
    state = replace(started(plan_of()), status="shadow", since=STEPS[0], shadowed=STEPS[0])
    route = route_of(plan_of(), state, TARGETS)
    experiment = route.experiment_at(STEPS[0])
    assert experiment is not None
    assert set(assign(UNITS[:500], experiment)) == {CONTROL}
    assert (route.shadow, route.shadow_share) == (TREATMENT, 1.0)


def test_an_end_leaves_one_version() -> None:
    for status, version in (("shipped", 4), ("rolled_back", 3), ("held", 3), ("aborted", 3), ("pending", 3)):
        state = replace(started(plan_of()), status=status, steps=STEPS)  # type: ignore[arg-type]
        route = route_of(plan_of(), state, TARGETS)
        assert [route.arms[route.control].version, len(route.arms), route.experiment] == [version, 1, ""]


def test_another_version_is_refused() -> None:
    state = replace(started(plan_of()), status="ramping", steps=STEPS[:1])
    retrained = {**TARGETS, TREATMENT: Target("http://b", "conversion", 5)}
    with pytest.raises(BadInput, match="has version 5, but rollout 'checkout' was started with version 4"):
        route_of(plan_of(), state, retrained)
    with pytest.raises(BadInput, match="no server for treatment"):
        route_of(plan_of(), state, {CONTROL: TARGETS[CONTROL]})


def test_eligible_units_change_with_the_step() -> None:
    ramp = [{"weight": 0.1, "eligible": {"segment": ["power"]}}, {"weight": 0.5}]
    plan = plan_of(ramp=ramp)
    route = route_of(plan, replace(started(plan), status="ramping", step=1, steps=STEPS[:2]), TARGETS)
    assert [phase.eligible for phase in route.phases] == [{"segment": ("power",)}, {}]
    assert parse_route(dump_route(route), where="the route") == route


def test_layer_holdout_and_share_of_the_experiment_reach_the_router() -> None:
    metrics = {"conversion": {"kind": "binary", "column": "conversion"}}
    plan = plan_of(experiment={"metrics": metrics, "share": 0.5, "holdout": {"name": "all", "share": 0.1}})
    route = route_of(plan, replace(started(plan), status="ramping", steps=STEPS[:1]), TARGETS)
    assert route.share == 0.5
    assert route.holdout is not None
    experiment = route.experiment_at(STEPS[0])
    assert experiment is not None
    assert experiment.share == pytest.approx(0.05)


def test_the_experiment_counts_units_of_the_ramp_alone() -> None:
    state = replace(started(plan_of()), status="settling", shadowed=START, steps=STEPS, ended=STEPS[2])
    spec = experiment_of(plan_of(), state, outcomes="events/*.parquet", until=STEPS[2])
    assert (spec.starts, spec.ends, spec.arms) == (STEPS[0], STEPS[2], {CONTROL: 0.5, TREATMENT: 0.5})
    assert spec.outcomes is not None
    assert (spec.outcomes.window_hours, spec.outcomes.until) == (24, STEPS[2])
    assert type(spec).model_validate(spec.model_dump()) == spec


def test_an_a_a_test_must_be_asked_for() -> None:
    with pytest.raises(BadInput, match="allow_same_version"):
        begin(plan_of(), control=3, treatment=3, now=START)
    assert begin(plan_of(allow_same_version=True), control=3, treatment=3, now=START).treatment == 3


def test_a_state_that_cannot_be_read_says_so() -> None:
    document = dump_state(started(plan_of()))
    assert parse_state(document, where="it") == started(plan_of())
    with pytest.raises(BadInput, match="schema version 7"):
        parse_state(document.replace(b'"schema_version": 1', b'"schema_version": 7'), where="it")
    with pytest.raises(BadInput, match="it: status"):
        parse_state(document.replace(b'"pending"', b'"dozing"'), where="it")
