"""Whether a manifest fits the schema of its custom resource, without a field that the schema does not know.

An API server drops unknown fields of a custom resource without a word; a misspelt field would be lost in the cluster.
Here it is a problem. The schemas are looked for where `TRIMTAB_CRD_DIR` says, or in `shared/crds` beside the checkout.
"""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

_BESIDE = Path(__file__).parents[3] / "shared" / "crds"
_KEPT = "x-kubernetes-preserve-unknown-fields"


def crd_folder() -> Path | None:
    """The folder with the schemas; None where there is none."""
    folder = Path(os.environ.get("TRIMTAB_CRD_DIR") or _BESIDE)
    return folder if folder.is_dir() else None


def crd_problems(manifest: Mapping[str, Any], folder: Path) -> list[str]:
    """What is wrong with a manifest, one line each; nothing where it fits.

    Args:
        manifest: A custom resource.
        folder: Folder with CustomResourceDefinitions as YAML.

    Raises:
        LookupError: No definition is for the manifest's kind and version.
    """
    schema = _schemas(folder).get((manifest.get("apiVersion", ""), manifest.get("kind", "")))
    if schema is None:
        raise LookupError(f"{folder} has no schema of {manifest.get('apiVersion')} {manifest.get('kind')}")
    errors = jsonschema.Draft4Validator(schema).iter_errors(manifest)  # whose bounds are exclusive by a flag, as there
    return sorted(f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}" for error in errors)


@cache
def _schemas(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Closed schemas by `apiVersion` and `kind`."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # minutes and seconds apart on files of this size
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=loader):
            if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                schema = _closed(version["schema"]["openAPIV3Schema"])
                # The API server's own part of every object.
                schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return found


def _closed(schema: Any) -> Any:
    """A structural schema that refuses what an API server would drop."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            closed[key] = {name: _closed(item) for name, item in value.items()}
        elif key in ("items", "additionalProperties", "anyOf", "allOf", "oneOf", "not"):
            closed[key] = _closed(value)
        elif key != "default":
            closed[key] = value
    if "properties" in closed and "additionalProperties" not in closed and not schema.get(_KEPT):
        closed["additionalProperties"] = False
    if schema.get("nullable") and isinstance(closed.get("type"), str):
        closed["type"] = [closed["type"], "null"]
    return closed
