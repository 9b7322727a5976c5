"""Writes a chart's README and values.schema.json from the comments of its values.yaml.

One source for what a value means, what Helm accepts and what the reader sees: a comment directly above a key is its
documentation, a line `@schema {...}` in it narrows the type that the default has by itself, and `## ` opens a section.
Every mapping without a schema of its own is closed, so that a misspelt value fails at `helm install` by its name.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trimtab.rollout.plan import RolloutPlan

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w.-]+):(\s|$)")
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_DEFINITIONS = "schema.yaml"
# What a `$ref` may name beside the chart's own shapes: models of the code, and what each is filled in with before it is
# validated, so that nobody need write it.
_MODELS = {"RolloutPlan": RolloutPlan}
_FILLED_IN = {"ExperimentSpec": {"name"}}
_PROSE = ("title", "description")


@dataclass(frozen=True, slots=True)
class Value:
    """One documented key of values.yaml.

    Attributes:
        path: Keys from the root.
        section: Heading that it stands under.
        text: The comment above it.
        schema: What the comment's `@schema` lines say.
        default: Its default.
    """

    path: tuple[str, ...]
    section: str
    text: str
    schema: dict[str, Any]
    default: Any


def values(source: str) -> list[Value]:
    """The keys of a values.yaml in their order, those inside of a mapping with a schema of its own left out.

    Args:
        source: Text of values.yaml.
    """
    defaults = yaml.safe_load(source)
    found: list[Value] = []
    comment: list[str] = []
    open_keys: list[tuple[int, str]] = []
    section, opaque = "", -1
    for line in source.splitlines():
        stripped = line.strip()
        match = _KEY.match(line)
        if stripped.startswith("## ", 2):
            section, comment = stripped[5:], []
        elif stripped.startswith("#"):
            comment.append(stripped[1:].strip())
        elif match is None:
            comment = []
        else:
            indent = len(match["indent"])
            open_keys = [*(pair for pair in open_keys if pair[0] < indent), (indent, match["key"])]
            if opaque < 0 or indent <= opaque:
                path = tuple(key for _, key in open_keys)
                value = _value(path, section, comment, _at(defaults, path))
                found.append(value)
                opaque = indent if value.schema else -1
            comment = []
    return found


def _value(path: tuple[str, ...], section: str, comment: list[str], default: Any) -> Value:
    schema: dict[str, Any] = {}
    for line in comment:
        if line.startswith("@schema "):
            schema |= yaml.safe_load(line.removeprefix("@schema "))
    text = " ".join(line for line in comment if not line.startswith("@schema "))
    return Value(path, section, text, schema, default)


def _at(defaults: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        defaults = defaults[key]
    return defaults


def schema(documented: list[Value], definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of the values.

    Args:
        documented: The keys.
        definitions: Shapes that `$ref` may name.
    """
    root: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
    for value in documented:
        parent = root
        for key in value.path[:-1]:
            parent = parent["properties"][key]
        parent["properties"][value.path[-1]] = _property(value)
    return {**root, "definitions": definitions} if definitions else root


def _property(value: Value) -> dict[str, Any]:
    own = {"description": value.text} if value.text else {}
    if isinstance(value.default, dict) and not value.schema:
        return {**own, "type": "object", "additionalProperties": False, "properties": {}}
    if value.schema.keys() & {"type", "enum"}:
        return {**own, **value.schema}
    if "$ref" in value.schema:
        return {**own, "allOf": [value.schema]}  # beside a `$ref`, draft 7 ignores every other word
    return {**own, "type": _JSON_TYPES[type(value.default)], **value.schema}


def model_definitions(name: str) -> dict[str, Any]:
    """A model of the code as definitions, so that Helm refuses what the code would.

    Args:
        name: Its name.
    """
    whole = _MODELS[name].model_json_schema(ref_template="#/definitions/{model}")
    found = {**whole.pop("$defs", {}), name: whole}
    for inner, filled in _FILLED_IN.items():
        if inner in found:
            found[inner]["required"] = [one for one in found[inner].get("required", []) if one not in filled]
    return {inner: _plain(definition) for inner, definition in found.items()}


def _plain(schema: Any) -> Any:
    """A schema without what a message of Helm's does not need."""
    if isinstance(schema, list):
        return [_plain(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: inner for key, inner in schema.items() if not (key in _PROSE and isinstance(inner, str))}
    return {key: _plain(inner) for key, inner in kept.items() if key != "default"}


def readme(metadata: dict[str, Any], introduction: str, documented: list[Value]) -> str:
    """The chart's README.

    Args:
        metadata: Chart.yaml.
        introduction: What stands above the values.
        documented: The keys.
    """
    lines = [f"# {metadata['name']}", "", introduction.strip(), "", "## Values", ""]
    lines += ["Written from `values.yaml`; `make golden` writes it anew.", ""]
    section = None
    for value in documented:
        group = isinstance(value.default, dict) and not value.schema
        if group and not value.text:
            continue
        if value.section != section:
            section = value.section
            lines += [*([f"### {section}", ""] if section else []), "| value | default | meaning |", "|---|---|---|"]
        default = "" if group else f"`{json.dumps(value.default, ensure_ascii=False)}`"
        text = value.text.replace("|", "\\|")
        lines.append(f"| `{'.'.join(value.path)}` | {default} | {text} |")
    return _spaced("\n".join(lines)) + "\n"


def _spaced(text: str) -> str:
    """A blank line before each heading."""
    return re.sub(r"(?<!\n)\n(### )", r"\n\n\1", text)


def written(chart: Path) -> dict[Path, str]:
    """The files that belong to a chart's values, by path.

    Args:
        chart: The chart's folder; `INTRODUCTION.md` in it stands above the values.
    """
    documented = values((chart / "values.yaml").read_text(encoding="utf-8"))
    shapes = chart / _DEFINITIONS
    definitions = yaml.safe_load(shapes.read_text(encoding="utf-8")) if shapes.is_file() else {}
    for name in _MODELS:
        if f'"#/definitions/{name}"' in json.dumps(definitions):
            definitions |= model_definitions(name)
    metadata = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    introduction = (chart / "INTRODUCTION.md").read_text(encoding="utf-8")
    return {
        chart / "values.schema.json": json.dumps(schema(documented, definitions), indent=2, ensure_ascii=False) + "\n",
        chart / "README.md": readme(metadata, introduction, documented),
    }
