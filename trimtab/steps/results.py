"""Results of a run's stages, kept as JSON so that stages in different processes add up to one report."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput, NotFound
from trimtab.ports import Ports

ConfigT = TypeVar("ConfigT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Recorded(Generic[ResultT]):
    """A stage's result and how long the stage took, in seconds."""

    result: ResultT
    seconds: float


def perform(
    step: Callable[[ConfigT, Ports], ResultT], config: ConfigT, ports: Ports, *, run: str, stage: str
) -> ResultT:
    """Run a step, and keep its result and duration under the run.

    Args:
        step: A step's `run` function.
        config: Its configuration.
        ports: The ports.
        run: Id of the run that the result belongs to.
        stage: Name of the stage in the report.
    """
    started = time.perf_counter()
    result = step(config, ports)
    _keep(ports, run, stage, {"seconds": round(time.perf_counter() - started, 3), "result": result})
    return result


def skip(ports: Ports, *, run: str, stage: str, reason: str) -> None:
    """Keep why a stage did not run; `recall` of it then raises NotFound with the reason."""
    _keep(ports, run, stage, {"seconds": 0.0, "skipped": reason})


def configure(kind: type[ConfigT], /, **fields: object) -> ConfigT:
    """A step's configuration from values that no type checker has seen, e.g. a pipeline's parameters.

    Raises:
        BadInput: A value is not one that the configuration allows.
    """
    try:
        return TypeAdapter(kind).validate_python(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise BadInput(f"parameter '{name}' is {problem['input']!r}: {problem['msg']}.") from error


def recall(kind: type[ResultT], ports: Ports, *, run: str, stage: str) -> Recorded[ResultT]:
    """Read back what `perform` kept.

    Raises:
        NotFound: The stage has not finished in this run, or was skipped; then the message is the reason.
    """
    path = ports.home / "runs" / run / f"{stage}.json"
    if not path.is_file():
        raise NotFound(f"stage '{stage}' of run '{run}' has left no result.", remedy="Run it first.")
    raw = orjson.loads(path.read_bytes())
    if "skipped" in raw:
        raise NotFound(raw["skipped"])
    return Recorded(TypeAdapter(kind).validate_python(raw["result"]), float(raw["seconds"]))


def _keep(ports: Ports, run: str, stage: str, body: dict[str, object]) -> None:
    folder = ports.home / "runs" / run
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{stage}.json.part"
    part.write_bytes(orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2))
    part.replace(folder / f"{stage}.json")
