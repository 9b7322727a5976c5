"""Pipelines to their compiled form, which is what runs: on this machine, on a cluster, by a schedule."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab.errors import BadInput

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from kfp import compiler

from pipelines.monitoring import monitoring
from pipelines.options import Options
from pipelines.scoring import scoring
from pipelines.training import training

PIPELINES: dict[str, Callable[[Options], Any]] = {
    "training": training,
    "monitoring": monitoring,
    "scoring": scoring,
}


def compile_pipeline(name: str, options: Options, out: Path) -> Path:
    """Write a pipeline's intermediate representation as YAML.

    Args:
        name: One of `PIPELINES`.
        options: What is fixed at compile time.
        out: The file to write.

    Raises:
        BadInput: There is no such pipeline, or the file cannot be written.
    """
    if name not in PIPELINES:
        raise BadInput(f"there is no pipeline '{name}'.", remedy=f"Pipelines: {', '.join(PIPELINES)}.")
    if out.suffix not in (".yaml", ".yml"):
        raise BadInput(f"'{out}' does not end in .yaml.", remedy="Name the output FILE.yaml.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(PIPELINES[name](options), package_path=str(out))
    except OSError as error:
        raise BadInput(f"'{out}' cannot be written: {error.strerror}.") from error
    return out
