"""Compiled pipelines as launchers see them: a name or a file, and the parameters that it takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from trimtab.errors import BadInput

_TYPES = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}

_RUN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_run_key(run_key: str) -> None:
    """A run's results are kept in a folder of its key's name.

    Raises:
        BadInput: The key is no such name.
    """
    if not _RUN_KEY.fullmatch(run_key):
        raise BadInput(
            f"run key '{run_key}' is not a name.", remedy="Use letters, digits, '.', '_' and '-', up to 128."
        )


def check_same_arguments(run_key: str, earlier: Mapping[str, object], given: Mapping[str, object]) -> None:
    """Of a run that was found by its key.

    Raises:
        BadInput: It had other arguments.
    """
    differing = sorted(name for name in {*earlier, *given} if earlier.get(name) != given.get(name))
    if differing:
        raise BadInput(
            f"run key '{run_key}' belongs to a run with another value of {', '.join(differing)}.",
            remedy="Use another run key.",
        )


@dataclass(frozen=True, slots=True)
class CompiledPipeline:
    """A pipeline's intermediate representation.

    Attributes:
        name: Name of the pipeline.
        path: Its YAML file.
        parameters: Each parameter's type, and whether it may be left out.
    """

    name: str
    path: Path
    parameters: Mapping[str, tuple[str, bool]]

    def arguments(self, given: Mapping[str, object]) -> dict[str, object]:
        """The given arguments, checked.

        Raises:
            BadInput: An argument is unknown, absent or of the wrong type.
        """
        for name, value in given.items():
            if name not in self.parameters:
                raise BadInput(
                    f"pipeline '{self.name}' has no parameter '{name}'.",
                    remedy=f"Parameters: {', '.join(self.parameters)}.",
                )
            kind = self.parameters[name][0]
            wrong = not isinstance(value, _TYPES.get(kind, (object,)))
            if wrong or (isinstance(value, bool) and kind != "BOOLEAN"):
                raise BadInput(f"parameter '{name}' of pipeline '{self.name}' is {value!r}, not {kind.lower()}.")
        absent = [name for name, (_, optional) in self.parameters.items() if not optional and name not in given]
        if absent:
            raise BadInput(f"pipeline '{self.name}' needs {', '.join(absent)}.")
        return dict(given)


def find(pipeline: str) -> CompiledPipeline:
    """A compiled pipeline by file, or by the name of one that comes with the package.

    Raises:
        BadInput: There is none, or the file is not a compiled pipeline.
    """
    shipped = _shipped()
    path = shipped.get(pipeline, Path(pipeline))
    if not path.is_file():
        raise BadInput(
            f"pipeline '{pipeline}' is neither a file nor a shipped pipeline.",
            remedy=f"Give a file from `trimtab pipeline compile`, or one of: {', '.join(shipped)}.",
        )
    try:
        # The first document is the pipeline; a second one holds settings of the cluster.
        spec: dict[str, Any] = next(iter(yaml.safe_load_all(path.read_text(encoding="utf-8"))), {})
        root: dict[str, Any] = spec["root"]
        inputs = root.get("inputDefinitions", {}).get("parameters", {})
        parameters = {
            name: (str(about["parameterType"]), "defaultValue" in about or about.get("isOptional", False))
            for name, about in inputs.items()
        }
        return CompiledPipeline(spec["pipelineInfo"]["name"], path, parameters)
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"'{path}' is not a compiled pipeline.", remedy="Make one with `trimtab pipeline compile`."
        ) from error


def _shipped() -> dict[str, Path]:
    folder = Path(str(resources.files("pipelines"))) / "compiled"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
