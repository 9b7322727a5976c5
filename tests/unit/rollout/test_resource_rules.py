"""The definition's CEL rules, evaluated by CEL's own implementation: each refuses what it is there for, and no more."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cel_expr_python import cel

from trimtab.rollout.resource_schema import definition

EXAMPLES = sorted((Path(__file__).parents[3] / "examples/kubernetes").glob("*.yaml"))
Schema = dict[str, Any]


def _sum(values: list[Any]) -> Any:
    return sum(values)


def _is_sorted(values: list[Any]) -> bool:
    return list(values) == sorted(values)


# Kubernetes adds these to CEL's lists.
_LIST = cel.Type.List(cel.Type.DYN)
_ENVIRONMENT = cel.NewEnv(
    variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN},
    functions=[
        cel.FunctionDecl(name, [cel.Overload(name, return_type=kind, parameters=[_LIST], is_member=True, impl=call)])
        for name, kind, call in (("sum", cel.Type.DYN, _sum), ("isSorted", cel.Type.BOOL, _is_sorted))
    ],
)


def root() -> Schema:
    """The schema of a resource."""
    [version] = definition()["spec"]["versions"]
    found: Schema = version["schema"]["openAPIV3Schema"]
    return found


def defaulted(value: Any, schema: Schema) -> Any:
    """A value as the API server keeps it: with defaults, and whole numbers as numbers where any number may stand."""
    if isinstance(value, dict):
        fields = schema.get("properties")
        if fields is None:
            inner = schema.get("additionalProperties", {})
            return {name: defaulted(item, inner) for name, item in value.items()}
        given = {name: copy.deepcopy(field["default"]) for name, field in fields.items() if "default" in field}
        return {name: defaulted(item, fields.get(name, {})) for name, item in {**given, **value}.items()}
    if isinstance(value, list):
        return [defaulted(item, schema.get("items", {})) for item in value]
    return float(value) if schema.get("type") == "number" else value


def broken(value: Any, schema: Schema, old: Any = None) -> Iterator[str]:
    """Messages of the rules that a value breaks, here and below."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and old is None:
            continue  # a transition rule is for updates
        data = {"self": value} if old is None else {"self": value, "oldSelf": old}
        found = _ENVIRONMENT.compile(rule["rule"]).eval(data=data)
        assert found.type() == cel.Type.BOOL, f"{rule['rule']}: {found.plain_value()}"
        if not found.plain_value():
            yield str(rule["message"])
    if isinstance(value, dict):
        for name, item in value.items():
            below = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(below, dict):
                before = old.get(name) if isinstance(old, dict) else None
                yield from broken(item, below, before)
    if isinstance(value, list):
        for item in value:
            yield from broken(item, schema["items"])


def refusals(body: Schema, old: Schema | None = None) -> list[str]:
    """Why the API server refuses a resource, or its update."""
    schema = root()
    return list(broken(defaulted(body, schema), schema, None if old is None else defaulted(old, schema)))


def resource(**changes: Any) -> Schema:
    """A resource that is accepted, but for the changes of its specification."""
    return {
        "metadata": {"name": "checkout"},
        "spec": {
            "model": "shop",
            "plannedUnits": 1_000,
            "windowHours": 1,
            "ramp": [{"weight": 0.1, "units": 400}, {"weight": 0.5, "units": 600}],
            "experiment": {"metrics": {"conversion": {"kind": "binary", "column": "conversion"}}},
            **changes,
        },
    }


def metrics(**declared: Schema) -> Schema:
    """A resource with these metrics."""
    return resource(experiment={"metrics": declared})


BINARY = {"kind": "binary", "column": "conversion"}
RATIO = {"kind": "ratio", "numerator": "clicks", "denominator": "views"}
PINNED = {
    "model": "other",
    "control": "3",
    "treatment": "4",
    "plannedUnits": 2_000,
    "windowHours": 2,
    "allowSameVersion": True,
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_break_no_rule(path: Path) -> None:
    body = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert refusals(body) == []
    assert refusals({**body, "status": {"controlVersion": 1}}, body) == []


BREAKING = [
    (resource(ramp=[{"weight": 0.5}, {"weight": 0.1}]), "a ramp grows"),
    (resource(treatedShare=0.4), "no step may treat more than treatedShare"),
    (resource(plannedUnits=999), "more units than plannedUnits"),
    (resource(control="champion", treatment="champion"), "control and treatment are the same"),
    (metrics(a={**BINARY, "role": "secondary"}), "no metric is declared that could decide"),
    (metrics(a={**BINARY, "role": "primary"}, b={**BINARY, "role": "primary"}), "only one metric may be primary"),
    (
        metrics(a={**BINARY, "numerator": "clicks", "denominator": "views"}),
        "no other kind of metric, has numerator",
    ),
    (metrics(a={"kind": "ratio", "numerator": "clicks"}), "no other kind of metric, has numerator"),
    (metrics(a={**RATIO, "column": "clicks"}), "every kind of metric but a ratio has column"),
    (metrics(a={"kind": "binary"}), "every kind of metric but a ratio has column"),
    (metrics(a=BINARY, b={"kind": "quantile", "column": "wait", "role": "secondary"}), "and no other, has quantile"),
    (metrics(a={**BINARY, "quantile": 0.9}), "and no other, has quantile"),
    (metrics(a=BINARY, b={**BINARY, "role": "guardrail"}), "a guardrail needs a margin above 0"),
    (
        metrics(a={"kind": "quantile", "column": "wait", "quantile": 0.9, "role": "primary"}),
        "looks cannot be taken at a quantile",
    ),
    ({**resource(), "metadata": {"name": "x" * 54}}, "the name must be no longer than 53 characters"),
]


@pytest.mark.parametrize(("body", "message"), BREAKING, ids=[message for _, message in BREAKING])
def test_each_rule_refuses_what_it_is_there_for(body: Schema, message: str) -> None:
    [found] = refusals(body)
    assert message in found


ACCEPTED = [
    resource(ramp=[{"weight": 0.5}]),
    resource(treatedShare=0.5),
    resource(control="1", treatment="1", allowSameVersion=True),
    metrics(a=RATIO),
    metrics(a={**BINARY, "role": "primary"}, b=BINARY),
    metrics(a=BINARY, b={**BINARY, "role": "guardrail", "margin": 0.1}),
    metrics(a=BINARY, b={"kind": "quantile", "column": "wait", "quantile": 0.9, "role": "secondary"}),
    {**resource(), "metadata": {"name": "x" * 53}},
]


@pytest.mark.parametrize("body", ACCEPTED)
def test_no_rule_refuses_what_is_sound(body: Schema) -> None:
    assert refusals(body) == []


@pytest.mark.parametrize("field", PINNED)
def test_what_was_pinned_cannot_be_changed(field: str) -> None:
    before = {**resource(), "status": {"controlVersion": 1}}
    after = {**resource(**{field: PINNED[field]}), "status": {"controlVersion": 1}}
    assert refusals(after, before) == [
        f"{field} cannot be changed once the experiment has started: rules do not change while data come in"
    ]
    assert refusals(after, {**resource(), "status": {"phase": "Waiting"}}) == []
    assert refusals(after, resource()) == []


def test_every_rule_is_tried() -> None:
    def messages(schema: Schema) -> Iterator[str]:
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
        for below in (*schema.get("properties", {}).values(), schema.get("additionalProperties"), schema.get("items")):
            if isinstance(below, dict):
                yield from messages(below)

    tried = {found for body, _ in BREAKING for found in refusals(body)}
    pinned = {one for one in messages(root()) if one.split(" ")[0] in PINNED and "cannot be changed" in one}
    assert len(pinned) == len(PINNED)
    assert set(messages(root())) == tried | pinned
