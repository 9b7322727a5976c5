from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.errors import BadInput
from trimtab.rollout.plan import CONTROL, TREATMENT, build_plan, dump_plan, load_plan
from trimtab.testing.rollout_store import plan_of

METRICS = {
    "conversion": {"kind": "binary", "column": "conversion"},
    "value": {"kind": "mean", "column": "value", "role": "guardrail", "margin": 0.05, "covariate": "spent_before"},
}


def test_every_step_has_the_weights_of_the_end_and_a_share_of_its_own() -> None:
    plan = plan_of()
    assert plan.weights == {CONTROL: 0.5, TREATMENT: 0.5}
    assert [plan.enrolled_share(step) for step in range(3)] == [0.1, 0.5, 1.0]
    assert plan_of(treated_share=0.5, ramp=[{"weight": 0.2}]).enrolled_share(0) == 0.4


def test_knows_what_the_routers_must_log() -> None:
    ramp = [{"weight": 0.1, "eligible": {"segment": ["power"]}}, {"weight": 0.5}]
    plan = plan_of(ramp=ramp, experiment={"metrics": METRICS, "segments": ["device"]})
    assert plan.attributes == ("segment", "device", "spent_before")


def test_a_step_may_let_more_units_take_part() -> None:
    power = {"weight": 0.1, "eligible": {"segment": ["power"], "country": ["DE"]}}
    wider = {"weight": 0.25, "eligible": {"segment": ["power", "casual"]}}
    assert plan_of(ramp=[power, wider, {"weight": 0.5}]).ramp[1].eligible == {"segment": ("power", "casual")}


def test_guardrails_of_all_kinds_share_one_error_rate() -> None:
    service = {"error_rate": {"margin": 0.01}, "calibration": {"margin": 0.02}}
    plan = plan_of(experiment={"metrics": METRICS}, service=service)
    assert (plan.guardrails, plan.predicted, plan.metric_guardrails) == (3, "conversion", ("value",))
    assert plan.bad_news(questions=plan.guardrails).alpha == pytest.approx(0.025 / 3)
    assert plan_of().predicted is None


def test_the_tests_look_towards_better_and_towards_worse() -> None:
    lower = {"metrics": {"lcp": {"kind": "mean", "column": "lcp", "direction": "lower"}}}
    assert (plan_of().good_news.alternative, plan_of().bad_news().alternative) == ("greater", "less")
    down = plan_of(experiment=lower)
    assert (down.good_news.alternative, down.bad_news().alternative) == ("less", "greater")


def test_reads_what_it_writes(tmp_path: Path) -> None:
    plan = plan_of(experiment={"metrics": METRICS, "minimum_days": 7})
    (tmp_path / "plan.yaml").write_text(dump_plan(plan), encoding="utf-8")
    assert load_plan(str(tmp_path / "plan.yaml")) == plan
    with pytest.raises(BadInput, match="no rollout plan"):
        load_plan(str(tmp_path / "other.yaml"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rampp": []}, "did you mean 'ramp'"),
        ({"ramp": []}, "ramp"),
        ({"name": "n" * 54}, "53 characters"),
        ({"ramp": [{"weight": 0.5}, {"weight": 0.1}]}, "a ramp grows"),
        (
            {"ramp": [{"weight": 0.1}, {"weight": 0.5, "eligible": {"segment": ["power"]}}]},
            "a step's 'segment' in 'eligible' leaves out units",
        ),
        (
            {
                "ramp": [
                    {"weight": 0.1, "eligible": {"segment": ["power"]}},
                    {"weight": 0.5, "eligible": {"segment": ["casual"]}},
                ]
            },
            "a ramp keeps whom it has",
        ),
        ({"ramp": [{"weight": 0.5, "unit": 3}]}, "did you mean 'units'"),
        ({"ramp": [{"weight": 1.0}]}, "less than 1"),
        ({"treated_share": 0.2}, "no more than that can be treated"),
        ({"ramp": [{"weight": 0.5, "units": 30_000}]}, "more units than 'planned_units'"),
        ({"looks": {"units": 10}}, "more than 200 looks"),
        ({"name": "../x"}, "name"),
        ({"service": {"calibration": {"margin": 0.1, "metric": "value"}}}, "needs a binary metric"),
        ({"experiment": {"metrics": {}}}, "no metric is declared"),
        ({"experiment": {"metrics": METRICS, "arms": {"control": 1, "treatment": 1}}}, "decided by the rollout"),
        ({"experiment": {"metrics": METRICS, "control": "A"}}, "called 'control'"),
        ({"experiment": {"metrics": METRICS, "name": "other"}}, "not 'checkout'"),
        ({"experiment": {"metrics": METRICS, "time": "at"}}, "column 'time'"),
        (
            {"experiment": {"metrics": {"p95": {"kind": "quantile", "column": "ms", "quantile": 0.95}}}},
            "is a quantile",
        ),
    ],
)
def test_says_what_is_wrong(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        plan_of(**fields)


def test_yaml_is_enough(tmp_path: Path) -> None:
    text = """
    name: checkout
    model: conversion
    planned_units: 40000
    window_hours: 24
    ramp: [{weight: 0.05, minutes: 60}, {weight: 0.5}]
    experiment: {metrics: {conversion: {kind: binary, column: conversion}}}
    """
    plan = build_plan(yaml.safe_load(text), where="the plan")
    assert (plan.control, plan.treatment, plan.look_units) == ("champion", "challenger", 2_000)
