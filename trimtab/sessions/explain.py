"""What is wrong with a file that a person wrote, in that person's words rather than the parser's."""

import difflib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from trimtab.errors import BadInput

Schema = dict[str, Any]


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One clause per wrong field: where it is, what is wrong with it, and what was probably meant.

    Args:
        error: What pydantic says.
        model: The model that it was validating.
    """
    schema = model.model_json_schema()
    text = "; ".join(_clause(problem, schema) for problem in error.errors())
    return text if text.endswith("?") else text + "."


def suggestion(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known word is near.

    >>> suggestion("controlable", ["controllable", "layer"])
    "; did you mean 'controllable'?"
    """
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""


def load_mapping(text: str) -> Any:
    """Parse YAML, refusing a mapping that names one key twice (which YAML parsers let the last one win).

    Raises:
        yaml.YAMLError: The text is not YAML, or repeats a key.
    """
    return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)


def read_spec(path: Path, *, remedy: str) -> dict[str, Any]:
    """The mapping in a spec file, not yet validated.

    Args:
        path: An existing file.
        remedy: What to do where the file holds something else than a mapping.

    Raises:
        BadInput: The file is not YAML, repeats a key, or is not a mapping.
    """
    try:
        raw = load_mapping(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(
            f"spec '{path}' is not valid YAML: {explain_yaml(error)}.",
            remedy="Mend that line; text with a colon, comma or brace needs quotes.",
        ) from error
    if not isinstance(raw, dict):
        raise BadInput(f"spec '{path}' is not a mapping.", remedy=remedy)
    return raw


def explain_yaml(error: Exception) -> str:
    """Where a text stops being YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}" if mark is not None else " ".join(problem.split())


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key}' is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _clause(problem: Any, schema: Schema) -> str:
    """What is wrong in one place, e.g. `columns.lcp: 'lair' is not a field of role 'kpi'; did you mean 'layer'?`."""
    kind, location, context = problem["type"], list(problem["loc"]), problem.get("ctx", {})
    about_field = kind in {"extra_forbidden", "missing"}
    name = str(location.pop()) if about_field else ""
    path, owner, fields = _resolve(schema, location)
    if kind == "extra_forbidden":
        message = f"'{name}' is not a field{owner}" + (suggestion(name, fields) or f"; fields are {', '.join(fields)}")
    elif kind == "missing":
        message = f"field '{name}'{owner} is required"
    elif kind == "union_tag_not_found":
        message = "field 'role' is required"
    elif kind == "union_tag_invalid":
        roles = [role.strip(" '") for role in str(context["expected_tags"]).split(",")]
        near = suggestion(str(context["tag"]), roles) or f"; roles are {', '.join(roles)}"
        message = f"'{context['tag']}' is not a role{near}"
    elif kind == "literal_error":
        message = f"'{problem['input']}' is not one of {context['expected']}"
    else:
        message = problem["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


def _resolve(schema: Schema, location: list[Any]) -> tuple[str, str, list[str]]:
    """Path for people, kind of the thing at it, and its field names; a union's tag is no part of the path."""
    node, path, owner = schema, [], ""
    for part in location:
        node = _target(node, schema)
        if "discriminator" in node:
            owner = f" of role '{part}'"
            node = {"$ref": node["discriminator"]["mapping"].get(part, "")}
            continue
        path.append(str(part))
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or {}
    return ".".join(path), owner, list(_target(node, schema).get("properties", {}))


def _target(node: Any, schema: Schema) -> Schema:
    if not isinstance(node, dict):
        return {}
    reference = str(node.get("$ref", ""))
    return schema["$defs"].get(reference.rsplit("/", 1)[-1], {}) if reference else node
