"""A rollout as a resource: the way there and back, and a definition that says what the plan says."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from trimtab.errors import BadInput
from trimtab.experiments.spec import ExperimentSpec
from trimtab.rollout.observation import Decision
from trimtab.rollout.plan import RolloutPlan, dump_plan, load_plan
from trimtab.rollout.resource import (
    LEAD_SECONDS,
    OMITTED,
    ServingResources,
    camel,
    camel_word,
    read_metadata,
    read_resource,
    snake,
    write_resource,
)
from trimtab.rollout.resource_schema import definition, spec_schema, status_schema
from trimtab.rollout.resource_status import Condition, mirrored, progress, with_conditions
from trimtab.rollout.state import RecordedLook, RolloutState, begin
from trimtab.testing.crd_schemas import crd_problems

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts/trimtab-crds/crds-source"
EXAMPLES = sorted((ROOT / "examples/kubernetes").glob("*.yaml"))
PLANS = sorted((ROOT / "examples/rollout").glob("*.yaml"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def example(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "examples/kubernetes/checkout.yaml").read_text(encoding="utf-8"))
    found["spec"] |= changes
    return found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_fit_the_definition_and_are_valid_plans(path: Path) -> None:
    body = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert crd_problems(body, CHART) == []
    assert read_resource(body).plan.name == body["metadata"]["name"]


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_a_plan_survives_the_way_there_and_back(path: Path) -> None:
    plan = load_plan(str(path))
    body = write_resource(plan, namespace="shop")
    assert crd_problems(body, CHART) == []
    assert dump_plan(read_resource(body).plan) == dump_plan(plan)
    assert body["metadata"]["namespace"] == "shop"


def test_names_that_a_person_chose_stay_as_they_are() -> None:
    raw = {"ramp": [{"weight": 0.5, "eligible": {"user_kind": ["new_one"]}}], "planned_units": 10}
    assert camel(raw, RolloutPlan) == {
        "ramp": [{"weight": 0.5, "eligible": {"user_kind": ["new_one"]}}],
        "plannedUnits": 10,
    }
    assert snake(camel(raw, RolloutPlan), RolloutPlan) == raw


def test_a_route_has_longer_to_travel_than_on_one_machine() -> None:
    assert read_resource(example()).plan.lead_seconds == LEAD_SECONDS
    assert read_resource(example(leadSeconds=300)).plan.lead_seconds == 300


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"planned_units": 10}, "'planned_units' is written 'plannedUnits'"),
        ({"plannedUnit": 10}, "plannedUnit"),
        ({"suspend": "yes"}, "'suspend' is 'yes'"),
        ({"serving": {"minReplicas": -1}}, "serving.minReplicas"),
        ({"serving": {"pods": 1}}, "serving.pods"),
        ({"ramp": [{"weight": 0.5}, {"weight": 0.25}]}, "a ramp grows"),
        ({"experiment": {"metrics": {}, "arms": {"a": 1, "b": 1}}}, "'experiment.arms' is decided by the controller"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        read_resource(example(**changes))
    assert "checkout-v4" in str(caught.value) or "is written" in str(caught.value)


def test_serving_resources_override_only_what_they_say() -> None:
    assert ServingResources(max_replicas=4).overrides == {"max_replicas": 4}
    assert read_resource(example()).serving.overrides["limits"] == {"memory": "2Gi"}


def test_a_command_without_a_reason_is_still_a_command() -> None:
    body = example()
    body["metadata"]["annotations"] = {"trimtab.dev/command": "abort"}
    command = read_metadata(body).command(now=NOW)
    assert command is not None
    assert (command.kind, command.time) == ("abort", NOW)
    assert command.who
    assert command.why


def _fields(schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in schema.get("properties", {}).items():
        yield f"{prefix}{name}", found
        yield from _fields(found, f"{prefix}{name}.")
        yield from _fields(found.get("items", {}), f"{prefix}{name}[].")
        if isinstance(found.get("additionalProperties"), dict):
            yield from _fields(found["additionalProperties"], f"{prefix}{name}.*.")


def test_the_definition_has_the_plan_s_fields_and_no_others() -> None:
    fields = spec_schema()["properties"]
    own = {camel_word(name) for name in RolloutPlan.model_fields} - set(OMITTED["RolloutPlan"])
    assert set(fields) == own | {"serving", "suspend"}
    experiment = {camel_word(name) for name in set(ExperimentSpec.model_fields) - set(OMITTED["ExperimentSpec"])}
    assert set(fields["experiment"]["properties"]) == experiment


def test_every_field_of_the_plan_is_described() -> None:
    bare = [name for name, schema in _fields(spec_schema()) if "description" not in schema]
    assert [name for name in bare if name.count(".") == 0] == []
    assert len(bare) < 20  # models whose docstring says it all in one sentence


def test_defaults_of_the_definition_are_those_of_the_plan() -> None:
    """What the API server fills in must not look like a change of the plan."""
    filled = example()
    _fill(filled["spec"], spec_schema())
    assert filled["spec"]["control"] == "champion"
    assert filled["spec"]["experiment"]["alpha"] == 0.05
    assert dump_plan(read_resource(filled).plan) == dump_plan(read_resource(example()).plan)


def _fill(value: Any, schema: dict[str, Any]) -> None:
    """What the API server does with defaults."""
    if isinstance(value, list):
        for item in value:
            _fill(item, schema["items"])
    if not isinstance(value, dict):
        return
    for name, found in schema.get("properties", {}).items():
        if name not in value and "default" in found:
            value[name] = copy.deepcopy(found["default"])
        if name in value:
            _fill(value[name], found)
    if isinstance(schema.get("additionalProperties"), dict):
        for item in value.values():
            _fill(item, schema["additionalProperties"])


def test_the_schema_is_structural() -> None:
    """What the API server refuses in a definition: references, alternatives, fields beside free names, no type."""

    def check(schema: dict[str, Any], where: str) -> None:
        assert not {"$ref", "$defs", "anyOf", "oneOf", "allOf", "title", "const"} & set(schema), where
        assert schema["type"] in ("object", "array", "string", "number", "integer", "boolean"), where
        assert not ("properties" in schema and "additionalProperties" in schema), where
        for bound in ("exclusiveMinimum", "exclusiveMaximum"):
            assert isinstance(schema.get(bound, True), bool), where
        if "default" in schema:
            jsonschema.Draft4Validator(schema).validate(schema["default"])
        for name, found in schema.get("properties", {}).items():
            check(found, f"{where}.{name}")
        for inner in (schema.get("items"), schema.get("additionalProperties")):
            if inner is not None:
                check(inner, f"{where}[]")

    [version] = definition()["spec"]["versions"]
    check(version["schema"]["openAPIV3Schema"], "")


def test_rules_speak_of_fields_that_are_there() -> None:
    """A rule that names an unknown field makes the API server refuse the whole definition."""

    def rules(schema: dict[str, Any]) -> Iterator[tuple[str, set[str]]]:
        for rule in schema.get("x-kubernetes-validations", ()):
            yield rule["rule"], set(schema.get("properties", {}))
            assert rule["message"]
        for inner in (*schema.get("properties", {}).values(), schema.get("additionalProperties"), schema.get("items")):
            if isinstance(inner, dict):
                yield from rules(inner)

    [version] = definition()["spec"]["versions"]
    found = list(rules(version["schema"]["openAPIV3Schema"]))
    assert len(found) > 10
    for rule, fields in found:
        named = {part.split(".")[1].split(" ")[0].rstrip("),").split("[")[0] for part in _selves(rule)}
        assert named <= fields, rule
        assert rule.count("(") == rule.count(")"), rule
        assert rule.count("'") % 2 == 0, rule


def _selves(rule: str) -> list[str]:
    words = rule.replace("(", " ").replace("!", " ").replace("oldSelf.", "self.").split()
    return [word for word in words if word.startswith("self.")]


def test_every_rule_of_the_definition_is_also_the_plan_s() -> None:
    """Where a cluster does not evaluate rules, the controller refuses the same."""
    metric = {"kind": "binary", "column": "conversion"}
    for changes in (
        {"treatedShare": 0.1},
        {"ramp": [{"weight": 0.5, "units": 90_000}]},
        {"experiment": {"metrics": {"a": {**metric, "role": "primary"}, "b": {**metric, "role": "primary"}}}},
        {"experiment": {"metrics": {"a": {**metric, "role": "guardrail", "margin": 0.1}}}},
        {"experiment": {"metrics": {"a": {**metric, "role": "guardrail"}, "b": metric}}},
        {"experiment": {"metrics": {"a": {"kind": "ratio", "column": "a"}}}},
        {"experiment": {"metrics": {"a": {"kind": "quantile", "column": "a", "quantile": 0.9}}}},
    ):
        with pytest.raises(BadInput):
            read_resource(example(**changes))


def test_the_mirror_has_only_fields_of_the_definition() -> None:
    plan = read_resource(example()).plan
    state = begin(plan, control=1, treatment=2, now=NOW)
    numbers = {"look": 1.0, "fraction": 0.1, "statistic": 1.0, "good_bound": 4.0, "bad_bound": 2.0}
    numbers |= {"relative_effect": 0.031, "effect": 0.003, "effect_low": -0.001, "effect_high": 0.007, "enrolled": 10.0}
    decision = Decision(NOW, "hold", "ramping 1/3", "ramping 1/3", 0.05, ("No look allows shipping yet.",), (), numbers)
    for status in ("pending", "ramping", "settling", "shipped"):
        shown = _at(state, status)
        found = mirrored(plan, shown, decision, [decision], {"control": "http://a"})
        found["conditions"] = with_conditions({}, progress(shown, decision), generation=1, now=NOW)
        body = {**example(), "status": {key: value for key, value in found.items() if value is not None}}
        assert crd_problems(body, CHART) == []
        assert set(found) <= set(status_schema()["properties"])
    assert found["lift"] == "+3.1%"
    assert found["looks"][0]["goodBound"] == 4.0


def _at(state: RolloutState, status: Any) -> RolloutState:
    looks = (RecordedLook(NOW, 100.0, 1.0),)
    return replace(state, status=status, steps=(NOW,) if status != "pending" else (), looks=looks, sound=True)


def test_columns_show_fields_of_the_status() -> None:
    [version] = definition()["spec"]["versions"]
    shown = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}
    assert {"Phase", "Step", "Verdict", "Lift", "Age"} <= set(shown)
    for path in shown.values():
        if path.startswith(".status."):
            assert path.removeprefix(".status.").split("[")[0] in status_schema()["properties"]


def test_conditions_that_nothing_is_known_of_are_kept() -> None:
    before = {"conditions": [{"type": "Healthy", "status": "True", "reason": "x", "lastTransitionTime": "t"}]}
    found = with_conditions(before, (Condition("Ready", "False", "Waiting"),), generation=2, now=NOW)
    assert [one["type"] for one in found] == ["Healthy", "Ready"]
    assert found[0]["lastTransitionTime"] == "t"
