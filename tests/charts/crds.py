"""Validates custom resources by their definitions, as strictly as a reviewer would: an unknown field is a mistake.

The API server prunes unknown fields silently, so a misspelt one would do nothing and nobody would hear of it.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_VARIABLE = "TRIMTAB_CRD_DIR"
_SIBLING = Path(__file__).parents[3] / "shared" / "crds"


def folder() -> Path:
    """Where definitions of other projects lie; the test is skipped where there are none."""
    found = Path(os.environ.get(_VARIABLE, _SIBLING))
    if not found.is_dir():
        pytest.skip(f"no definitions of custom resources: set {_VARIABLE} to a folder of them")
    return found


@cache
def _schema(where: Path, api: str, kind: str) -> Any:
    """The schema of one kind; only files that speak of it are parsed, since some have 40,000 lines."""
    for path in sorted(where.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if f"    kind: {kind}\n" in text:
            for found in yaml.load_all(text, Loader=_LOADER):
                schema = _version(found, api, kind)
                if schema is not None:
                    return _strict(schema)
    raise LookupError(f"no definition of {api} {kind} in '{where}'")


def _version(found: Any, api: str, kind: str) -> Any:
    if not found or found["kind"] != "CustomResourceDefinition" or found["spec"]["names"]["kind"] != kind:
        return None
    group = found["spec"]["group"]
    for version in found["spec"]["versions"]:
        if f"{group}/{version['name']}" == api:
            return version["schema"]["openAPIV3Schema"]
    return None


def _strict(schema: Any) -> Any:
    """The schema as JSON schema, closed wherever it names its properties."""
    if isinstance(schema, list):
        return [_strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(inner) for key, inner in schema.items() if key != "format"}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and "properties" in schema and not open_ended:
        closed["additionalProperties"] = False
    return closed


def check(one: dict[str, Any]) -> None:
    """Hold a manifest against its definition.

    Raises:
        jsonschema.ValidationError: It breaks it.
    """
    schema = _schema(folder(), one["apiVersion"], one["kind"])
    # The definition says nothing about metadata but that it is an object: the API server knows it.
    body = {key: value for key, value in one.items() if key != "metadata"}
    jsonschema.Draft202012Validator({**schema, "required": []}).validate(body)
