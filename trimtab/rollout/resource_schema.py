"""The definition of `ModelExperiment`, written from the rollout plan so that the two cannot drift apart.

Fields, defaults and bounds come from the plan's models and descriptions from their docstrings; what lies between two
fields is said as CEL rules, as far as the API server can afford to evaluate them. `make golden` writes the definition
into the chart. Kubernetes wants a *structural* schema: no references, no alternatives, and an object lists its fields
or takes any name, never both; that it is closed follows from its fields being listed.
"""

from collections.abc import Mapping
from inspect import cleandoc
from typing import Any

from trimtab.experiments import spec as specs
from trimtab.rollout import plan as plans
from trimtab.rollout.plan import LONGEST_NAME, RolloutPlan
from trimtab.rollout.resource import (
    GROUP,
    KIND,
    LEAD_SECONDS,
    OMITTED,
    PLURAL,
    VERSION,
    PodToleration,
    ServingResources,
    camel_word,
    fields_of,
    resolve,
)

Schema = dict[str, Any]
# Bounds without which the API server reckons that a rule could take forever.
_LONGEST, _MOST_ITEMS, _MOST_NAMES = 1_000, 64, 64
_MODELS = (
    *(one for module in (plans, specs) for one in vars(module).values() if isinstance(one, type)),
    ServingResources,
    PodToleration,
)
_DESCRIPTIONS = {one.__name__: fields_of(cleandoc(one.__doc__ or "")) for one in _MODELS}


def definition() -> Schema:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["mexp"],
                "categories": ["trimtab"],
            },
            "scope": "Namespaced",
            "versions": [_version()],
        },
    }


def spec_schema() -> Schema:
    """The schema of the specification."""
    schema = _structural(RolloutPlan.model_json_schema(), RolloutPlan.model_json_schema())
    fields = schema["properties"]
    fields["leadSeconds"]["default"] = LEAD_SECONDS
    serving = ServingResources.model_json_schema()
    fields["serving"] = _structural(serving, serving)
    fields["serving"]["description"] = "Resources of the arms' pods; what is absent is the profile's."
    fields["suspend"] = {
        "type": "boolean",
        "default": False,
        "description": "Take no looks and decide nothing for the time being; arms and weights stay as they are.",
    }
    fields["experiment"]["required"] = ["metrics"]
    fields["experiment"]["properties"]["metrics"]["minProperties"] = 1
    schema["description"] = "How a version meets its users, by which rules it ships, and what takes it back."
    schema["x-kubernetes-validations"] = _rules(_RAMP_RULES)
    fields["experiment"]["x-kubernetes-validations"] = _rules(_METRIC_RULES)
    metric = fields["experiment"]["properties"]["metrics"]["additionalProperties"]
    metric["x-kubernetes-validations"] = _rules(_METRIC_FIELD_RULES)
    return schema


def status_schema() -> Schema:
    """The schema of the status."""
    moment, text = {"type": "string", "format": "date-time"}, {"type": "string"}
    number, count = {"type": "number"}, {"type": "integer"}
    look: dict[str, Schema] = {
        "number": count,
        "time": moment,
        "fraction": number,
        "statistic": number,
        "goodBound": number,
        "badBound": number,
        "lift": number,
    }
    arm: dict[str, Schema] = {"name": text, "version": count, "url": text}
    condition: dict[str, Schema] = {
        "type": text,
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": text,
        "message": text,
        "lastTransitionTime": moment,
        "observedGeneration": count,
    }
    described: dict[str, tuple[Schema, str]] = {
        "observedGeneration": (count, "Generation of the specification that the status speaks of."),
        "phase": (text, "Waiting, Pending, Shadow, Ramping, Settling, Shipped, RolledBack, Held or Aborted."),
        "step": (text, "Step of the ramp, of how many."),
        "weight": (number, "Share of the eligible units that the treatment answers."),
        "verdict": (text, "ship, roll_back or hold at the newest decision; abort where a person ended it."),
        "lift": (text, "Relative effect on the primary metric at the newest look."),
        "effect": (_object({"estimate": number, "low": number, "high": number}), "Effect, with its interval."),
        "looks": (_list(_object(look)), "The newest looks, oldest first."),
        "nextLook": (
            _object({"units": count, "known": count, "notBefore": moment}),
            "Units whose outcome the next look waits for, how many are known, and when it may be at the earliest.",
        ),
        "reasons": (_list(text), "Why the newest decision was taken, the weightiest first."),
        "controlVersion": (count, "Version that answers control, pinned at the start."),
        "treatmentVersion": (count, "Version that answers the treatment, pinned at the start."),
        "arms": (_list(_object(arm)), "Where each arm is served."),
        "since": (moment, "From when the phase, or the step, is in force."),
        "drained": ({"type": "boolean"}, "Whether the experiment has ended and the arm that lost is gone."),
        "superseded": (moment, "From when a later experiment's route names none of its arms."),
        "conditions": (
            {
                **_list(_object(condition, required=["type", "status"])),
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
            "Ready, Progressing, Healthy and Decided.",
        ),
    }
    return {
        "type": "object",
        "description": "Where the experiment stands; the record is the controller's, this is its mirror.",
        "properties": {name: {**schema, "description": told} for name, (schema, told) in described.items()},
    }


def _version() -> Schema:
    columns = (
        ("Model", "string", ".spec.model", 1),
        ("Phase", "string", ".status.phase", 0),
        ("Step", "string", ".status.step", 0),
        ("Verdict", "string", ".status.verdict", 0),
        ("Lift", "string", ".status.lift", 0),
        ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    )
    root = {
        "type": "object",
        "description": "An experiment between two versions of a model, from the first shadow request to the verdict.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec_schema(),
            "status": status_schema(),
        },
        "x-kubernetes-validations": _rules(_ROOT_RULES),
    }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}
            for name, kind, path, priority in columns
        ],
    }


# What cannot change once versions are pinned. Lists and maps are compared by the controller, which refuses them with a
# condition: the API server could not afford it.
_PINNED = ("model", "control", "treatment", "plannedUnits", "windowHours", "allowSameVersion")
_ROOT_RULES = (
    *(
        (
            f"!has(oldSelf.status) || !has(oldSelf.status.controlVersion) || self.spec.{name} == oldSelf.spec.{name}",
            f"{name} cannot be changed once the experiment has started: rules do not change while data come in",
        )
        for name in _PINNED
    ),
    (
        f"size(self.metadata.name) <= {LONGEST_NAME}",
        f"the name must be no longer than {LONGEST_NAME} characters: it becomes part of the arms' names",
    ),
)
_RAMP_RULES = (
    (
        "self.ramp.map(step, step.weight).isSorted()",
        "a ramp grows: no step may have a smaller weight than the one before",
    ),
    (
        "!has(self.treatedShare) || self.ramp.all(step, step.weight <= self.treatedShare)",
        "no step may treat more than treatedShare",
    ),
    ("self.ramp.map(step, step.units).sum() <= self.plannedUnits", "the steps ask for more units than plannedUnits"),
    (
        "self.allowSameVersion || self.control != self.treatment",
        "control and treatment are the same; set allowSameVersion for an A/A test",
    ),
)  # fmt: skip
_METRIC_RULES = (
    (
        "self.metrics.exists(name, !has(self.metrics[name].role) || self.metrics[name].role == 'primary')",
        "no metric is declared that could decide: one needs the role primary, or none",
    ),
    (
        "self.metrics.filter(name, has(self.metrics[name].role) && self.metrics[name].role == 'primary').size() <= 1",
        "only one metric may be primary",
    ),
)
_METRIC_FIELD_RULES = (
    (
        "has(self.numerator) == (self.kind == 'ratio') && has(self.denominator) == (self.kind == 'ratio')",
        "a ratio, and no other kind of metric, has numerator and denominator",
    ),
    (
        "has(self.column) == (self.kind != 'ratio')",
        "every kind of metric but a ratio has column",
    ),
    ("(self.kind == 'quantile') == has(self.quantile)", "a metric of kind quantile, and no other, has quantile"),
    ("!has(self.role) || self.role != 'guardrail' || self.margin > 0.0", "a guardrail needs a margin above 0"),
    (
        "!has(self.role) || self.role != 'primary' || self.kind != 'quantile'",
        "looks cannot be taken at a quantile, so it cannot be primary",
    ),
)


def _rules(rules: tuple[tuple[str, str], ...]) -> list[Schema]:
    return [{"rule": rule, "message": message} for rule, message in rules]


def _object(fields: Mapping[str, Schema], *, required: list[str] | None = None) -> Schema:
    return {"type": "object", "properties": dict(fields), **({"required": required} if required else {})}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _structural(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Schema:
    """A part of pydantic's JSON schema as Kubernetes takes it."""
    found = resolve(schema, root)
    kind, kept = found["type"], {key: found[key] for key in _KEPT if key in found}
    result: Schema = {"type": kind, **kept, **_bounds(found)}
    if kind == "string" and "enum" not in found:
        result.setdefault("maxLength", _LONGEST)
    if kind == "array":
        result |= {"items": _structural(found["items"], root)}
        result.setdefault("maxItems", _MOST_ITEMS)
    if kind == "object" and "properties" in found:
        result |= _fields(found, root)
    elif kind == "object":
        result |= {"additionalProperties": _structural(found["additionalProperties"], root)}
        result["maxProperties"] = _MOST_NAMES
    if found.get("default") is not None and found["default"] != "":
        result["default"] = _default(found["default"])
    return result


_KEPT = ("enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "format", "minimum", "maximum")


def _fields(found: Mapping[str, Any], root: Mapping[str, Any]) -> Schema:
    name = str(found["title"])
    left_out, told = OMITTED.get(name, ()), _DESCRIPTIONS.get(name, {})
    fields = {}
    for field, schema in found["properties"].items():
        if field not in left_out:
            described = {"description": told[field]} if field in told else {}
            fields[camel_word(field)] = described | _structural(schema, root)
    required = [camel_word(field) for field in found.get("required", ()) if field not in left_out]
    return {"properties": fields, **({"required": required} if required else {})}


def _bounds(found: Mapping[str, Any]) -> Schema:
    """OpenAPI 3.0 says by a flag that a bound is exclusive."""
    result: Schema = {}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in found:
            result |= {bound: found[exclusive], exclusive: True}
    return result


def _default(value: Any) -> Any:
    if isinstance(value, dict):
        return {camel_word(key): _default(item) for key, item in value.items() if item is not None}
    return value
