"""Rules from the command line, alone or on top of a spec; and rules that were locked before the start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.errors import BadInput
from trimtab.experiments.spec import ExperimentSpec, build_experiment, dump_experiment, load_experiment
from trimtab.sessions.explain import suggestion

_KINDS = ("binary", "mean", "ratio")
_HOW = "Write NAME=binary:COLUMN, NAME=mean:COLUMN or NAME=ratio:NUMERATOR/DENOMINATOR."


@dataclass(frozen=True, slots=True)
class Flags:
    """What a command line declares; empty where it is silent.

    Attributes:
        unit: Column of the unit.
        arm: Column of the arm.
        control: The control arm.
        metrics: `NAME=binary:COLUMN`, `NAME=mean:COLUMN` or `NAME=ratio:NUMERATOR/DENOMINATOR`.
        covariates: `METRIC=COLUMN`.
        segments: Columns.
        weights: `A=.5,B=.5`.
    """

    unit: str = ""
    arm: str = ""
    control: str = ""
    metrics: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    weights: str = ""


def declare(base: ExperimentSpec | None, flags: Flags, *, name: str) -> ExperimentSpec:
    """The rules of an analysis.

    Without a spec, the first metric decides, and all of them are one family of questions.

    Args:
        base: The spec, if there is one.
        flags: What overrides it and adds to it.
        name: Name of the experiment where there is no spec.

    Raises:
        BadInput: A flag is not written as it should be, or contradicts the rest.
    """
    raw: dict[str, Any] = (
        base.model_dump(mode="json", exclude_defaults=True) if base else {"name": name, "family": "all"}
    )
    raw |= {key: value for key in ("unit", "arm", "control") if (value := getattr(flags, key))}
    metrics: dict[str, Any] = dict(raw.get("metrics", {}))
    for text in flags.metrics:
        metric, declared = parse_metric(text)
        if metric in metrics and base is None:
            raise BadInput(f"metric '{metric}' is given twice.", remedy="Give each metric a name of its own.")
        old = {key: value for key, value in metrics.get(metric, {}).items() if key in {"role", "direction", "margin"}}
        metrics[metric] = old | declared
    for text in flags.covariates:
        metric, column = _pair(text, "--covariate", "METRIC=COLUMN")
        if metric not in metrics:
            near = suggestion(metric, metrics) or "."
            raise BadInput(f"--covariate names metric '{metric}', which is not declared{near}")
        metrics[metric] = {**metrics[metric], "covariate": column}
    segments = list(dict.fromkeys([*raw.get("segments", ()), *flags.segments]))
    raw |= {"metrics": metrics, "segments": segments}
    if flags.weights:
        raw["arms"] = parse_weights(flags.weights)
    return build_experiment(raw, where="what the options declare" if base is None else "the spec with the options")


def parse_metric(text: str) -> tuple[str, dict[str, str]]:
    """A metric as the command line gives it.

    >>> parse_metric("ctr=ratio:clicks/views")
    ('ctr', {'kind': 'ratio', 'numerator': 'clicks', 'denominator': 'views'})

    Raises:
        BadInput: It is written otherwise.
    """
    name, how = _pair(text, "--metric", "NAME=KIND:COLUMN")
    kind, colon, column = how.partition(":")
    if kind not in _KINDS or not colon or not column:
        near = suggestion(kind, _KINDS) if kind not in _KINDS else ""
        raise BadInput(f"--metric '{text}' is not one{near or '.'}", remedy=_HOW)
    if kind != "ratio":
        return name, {"kind": kind, "column": column}
    above, slash, below = column.partition("/")
    if not slash or not above.strip() or not below.strip():
        raise BadInput(f"--metric '{text}' is a ratio without a denominator.", remedy=_HOW)
    return name, {"kind": kind, "numerator": above.strip(), "denominator": below.strip()}


def parse_weights(text: str) -> dict[str, float]:
    """Weights as the command line gives them.

    >>> parse_weights("A=.5,B=.5")
    {'A': 0.5, 'B': 0.5}

    Raises:
        BadInput: They are written otherwise.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        arm, number = _pair(part.strip(), "--weights", "A=.5,B=.5")
        try:
            weight = float(number)
        except ValueError as error:
            raise BadInput(f"--weights: '{number}' of arm '{arm}' is not a number.") from error
        if arm in weights:
            raise BadInput(f"--weights names arm '{arm}' twice.")
        weights[arm] = weight
    return weights


def lock(path: str, spec: ExperimentSpec) -> Path:
    """Write the rules down beside the spec, before the start.

    Raises:
        BadInput: They were locked before; a lock that can be renewed is none.
    """
    file = _lock_path(path)
    if file.exists():
        raise BadInput(f"'{path}' was locked before, in '{file}'.", remedy="A new experiment gets a new spec.")
    file.write_text(dump_experiment(spec), encoding="utf-8")
    return file


def locked(path: str) -> ExperimentSpec | None:
    """The rules as they were locked; None where they were not."""
    file = _lock_path(path)
    return load_experiment(str(file)) if file.is_file() else None


def _lock_path(path: str) -> Path:
    return Path(path).with_suffix(".lock.yaml")


def _pair(text: str, option: str, shape: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise BadInput(f"{option} '{text}' is not {shape}.")
    return name.strip(), value.strip()
