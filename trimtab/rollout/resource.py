"""A rollout as a Kubernetes resource: the plan in that system's style, and what its metadata ask for.

The specification of a `ModelExperiment` is the rollout plan with its fields in camel case, without what the resource's
metadata say already (the name), and with what only a cluster has (resources of the arms' pods). Names that a person
chose, such as a metric's, are never changed. Everything here is pure; who reads and writes resources is a matter of the
adapter and of the controller.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trimtab.errors import BadInput
from trimtab.rollout.observation import Command
from trimtab.rollout.plan import RolloutPlan, build_plan

GROUP, VERSION, KIND, PLURAL = "trimtab.dev", "v1alpha1", "ModelExperiment", "modelexperiments"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/drain"
COMMAND, REASON, BY = f"{GROUP}/command", f"{GROUP}/reason", f"{GROUP}/by"
LEAD_SECONDS = 120.0  # A ConfigMap reaches the pods that mount it within the kubelet's period and its cache's lifetime.
# What the resource's metadata or the rollout itself say.
OMITTED: Mapping[str, tuple[str, ...]] = {
    "RolloutPlan": ("name",),
    "ExperimentSpec": (
        "name",
        "unit",
        "arm",
        "control",
        "arms",
        "time",
        "starts",
        "ends",
        "eligible",
        "phases",
        "sequential",
        "outcomes",
    ),
}
_REMEDY = "See docs/controller.md."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PodToleration(_Strict):
    """A taint that the arms' pods may be scheduled in spite of; fields as in Kubernetes."""

    key: str = Field(min_length=1)
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class ServingResources(_Strict):
    """Resources of the arms' pods; what is absent is the profile's.

    Attributes:
        min_replicas: Pods of an arm at least.
        max_replicas: Pods of an arm at most.
        requests: Resources to reserve per pod.
        limits: Resources that a pod may not exceed, accelerators by their resource name.
        node_selector: Labels of the nodes to run on.
        tolerations: Taints of those nodes.
        ready_seconds: How long an arm may take until it is ready.
    """

    min_replicas: int | None = Field(default=None, ge=0)
    max_replicas: int | None = Field(default=None, ge=1)
    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None
    node_selector: dict[str, str] | None = None
    tolerations: tuple[PodToleration, ...] | None = None
    ready_seconds: float | None = Field(default=None, gt=0)

    @property
    def overrides(self) -> dict[str, Any]:
        """What is said, by field."""
        return self.model_dump(exclude_none=True)


@dataclass(frozen=True, slots=True)
class ResourceMetadata:
    """What a resource says beside its specification, which may be wrong while this is not.

    Attributes:
        name: Name of the resource, of its rollout, and the salt of the randomisation.
        namespace: Where it lies.
        generation: Counts changes of the specification.
        created: When it was made.
        annotations: Annotations.
        status: The status as it was last written; empty before.
    """

    name: str
    namespace: str
    generation: int
    created: datetime
    annotations: Mapping[str, str]
    status: Mapping[str, Any]

    def command(self, *, now: datetime) -> Command | None:
        """What a person asks for by annotation; None without a command.

        Args:
            now: Aware time.

        Raises:
            BadInput: The annotation is no command.
        """
        kind = self.annotations.get(COMMAND, "")
        if not kind:
            return None
        if kind not in ("promote", "abort"):
            raise BadInput(f"annotation '{COMMAND}' is '{kind}'.", remedy="Commands: promote, abort.")
        who = self.annotations.get(BY) or "a person with rights on the resource"
        why = self.annotations.get(REASON) or "no reason was given."
        return Command("promote" if kind == "promote" else "abort", who, why, now)


@dataclass(frozen=True, slots=True)
class ModelExperiment:
    """What a resource asks for.

    Attributes:
        metadata: What it says beside.
        plan: The rollout plan.
        serving: Resources of the arms' pods.
        suspend: Whether nothing is to be decided for the time being.
    """

    metadata: ResourceMetadata
    plan: RolloutPlan
    serving: ServingResources
    suspend: bool = False


def read_metadata(body: Mapping[str, Any]) -> ResourceMetadata:
    """What a resource says beside its specification.

    Args:
        body: The resource, as the API gives it.
    """
    metadata = body.get("metadata", {})
    return ResourceMetadata(
        name=str(metadata.get("name", "")),
        namespace=str(metadata.get("namespace", "")),
        generation=int(metadata.get("generation", 0)),
        created=_moment(metadata.get("creationTimestamp")),
        annotations=dict(metadata.get("annotations") or {}),
        status=dict(body.get("status") or {}),
    )


def read_resource(body: Mapping[str, Any]) -> ModelExperiment:
    """What a resource asks for.

    Args:
        body: The resource, as the API gives it.

    Raises:
        BadInput: It is none, or its specification is no valid plan; the message names each wrong field.
    """
    metadata, spec = read_metadata(body), dict(body.get("spec") or {})
    where = f"ModelExperiment '{metadata.name}'"
    if body.get("kind", KIND) != KIND or body.get("apiVersion", API_VERSION) != API_VERSION:
        raise BadInput(
            f"{body.get('apiVersion')} {body.get('kind')} '{metadata.name}' is no experiment.",
            remedy=f"Write apiVersion: {API_VERSION} and kind: {KIND}.",
        )
    serving = read_serving(body)
    spec.pop("serving", None)
    suspend = spec.pop("suspend", False)
    if not isinstance(suspend, bool):
        raise BadInput(f"{where} is not valid: 'suspend' is {suspend!r}, not true or false.", remedy=_REMEDY)
    return ModelExperiment(metadata, _plan(metadata.name, spec, where=where), serving, suspend)


def read_serving(body: Mapping[str, Any]) -> ServingResources:
    """What a resource asks for its arms, which may be valid while the rest is not.

    Args:
        body: The resource, as the API gives it.

    Raises:
        BadInput: It asks for what there is not.
    """
    name, raw = read_metadata(body).name, (body.get("spec") or {}).get("serving") or {}
    try:
        return ServingResources.model_validate(snake(raw, ServingResources))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(("serving", *(camel_word(str(part)) for part in problem["loc"])))
        raise BadInput(f"{KIND} '{name}' is not valid: {place}: {problem['msg']}.", remedy=_REMEDY) from error


def write_resource(plan: RolloutPlan, *, namespace: str = "") -> dict[str, Any]:
    """A resource that asks for a plan.

    Args:
        plan: The plan.
        namespace: Where it is to lie; wherever it is applied, where empty.
    """
    raw = plan.model_dump(mode="json", exclude_defaults=True)
    raw["lead_seconds"] = plan.lead_seconds
    for name in OMITTED["RolloutPlan"]:
        raw.pop(name, None)
    for name in OMITTED["ExperimentSpec"]:
        raw["experiment"].pop(name, None)
    metadata = {"name": plan.name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": camel(raw, RolloutPlan)}


def camel_word(word: str) -> str:
    """A field's name in Kubernetes' style.

    >>> camel_word("planned_units"), camel_word("latency_p99")
    ('plannedUnits', 'latencyP99')
    """
    first, *rest = word.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def camel(value: Any, model: type[BaseModel]) -> Any:
    """A model's content with its fields in camel case; names that a person chose stay as they are."""
    return _renamed(value, _schema(model), _schema(model), to_camel=True)


def snake(value: Any, model: type[BaseModel]) -> Any:
    """The way back. A field that no model has stays as it was written, so that a message can quote it.

    Raises:
        BadInput: A field is written in snake case where camel case is asked for.
    """
    return _renamed(value, _schema(model), _schema(model), to_camel=False)


def _plan(name: str, spec: Mapping[str, Any], *, where: str) -> RolloutPlan:
    raw = {"lead_seconds": LEAD_SECONDS, **snake(spec, RolloutPlan), "name": name}
    said = sorted(set(raw["experiment"]) & set(OMITTED["ExperimentSpec"])) if _is_mapping(raw, "experiment") else []
    if said:
        raise BadInput(f"{where} is not valid: 'experiment.{camel_word(said[0])}' is decided by the controller.")
    return build_plan(raw, where=where)


def _is_mapping(raw: Mapping[str, Any], name: str) -> bool:
    return isinstance(raw.get(name), dict)


def _moment(text: Any) -> datetime:
    """The time of a timestamp; the beginning of time where there is none, so that everything is later."""
    return datetime.fromisoformat(str(text or "1970-01-01T00:00:00Z").replace("Z", "+00:00"))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema behind its reference, and without the alternative that it may be absent.

    Args:
        schema: A part of a JSON schema as pydantic writes it.
        root: The whole of it.
    """
    if "$ref" in schema:
        named = root["$defs"][str(schema["$ref"]).rpartition("/")[2]]
        return resolve({**named, **{key: value for key, value in schema.items() if key != "$ref"}}, root)
    if "anyOf" in schema:
        found = [one for one in schema["anyOf"] if one.get("type") != "null"]
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        if len(found) == 1:
            return resolve({**found[0], **rest}, root)
    return schema


def _renamed(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], *, to_camel: bool) -> Any:
    schema = resolve(schema, root)
    if isinstance(value, (list, tuple)) and isinstance(schema.get("items"), dict):
        return [_renamed(item, schema["items"], root, to_camel=to_camel) for item in value]
    if not isinstance(value, Mapping):
        return value
    fields = schema.get("properties")
    if fields is None:
        inner = schema.get("additionalProperties")
        inner = inner if isinstance(inner, dict) else {}
        return {key: _renamed(item, inner, root, to_camel=to_camel) for key, item in value.items()}
    known = {(name if to_camel else camel_word(name)): name for name in fields}
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = known.get(key)
        if name is None and not to_camel and key in fields:
            raise BadInput(f"field '{key}' is written '{camel_word(key)}' in a ModelExperiment.", remedy=_REMEDY)
        new = key if name is None else camel_word(name) if to_camel else name
        found[new] = _renamed(item, fields.get(name or "", {}), root, to_camel=to_camel)
    return found


def fields_of(text: str) -> dict[str, str]:
    """What a docstring says of each attribute, on one line.

    Args:
        text: A docstring in Google's style, its indentation removed.
    """
    _, _, section = text.partition("Attributes:\n")
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        named = re.match(r"\s{4}(\w+): (.*)", line)
        if named:
            found[named.group(1)] = [named.group(2)]
        elif found and line.strip():
            found[next(reversed(found))].append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}
