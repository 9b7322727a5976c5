"""One line per stage as it finishes, wherever the stage runs: in this process or in a pipeline's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from trimtab.cli import console
from trimtab.errors import NotFound
from trimtab.ports import Ports
from trimtab.steps import (
    decide,
    drift,
    experiment,
    features,
    first_champion,
    impact,
    materialize,
    promote,
    register,
    results,
    simulate,
    train,
    tune,
    validate,
)

_POLL_SECONDS = 0.2


def _simulate(done: simulate.Result) -> str:
    return f"{done.rows:,} sessions of {done.users:,} users; Bayes-optimal AUC {done.bayes_auc:.4f}"


def _validate(done: validate.Result) -> str:
    warned = sum(finding.severity != "info" for finding in done.findings)
    return f"{done.rows:,} rows accepted, {done.rejected:,} in quarantine, {warned} findings to read"


def _features(done: features.Result) -> str:
    return f"{len(done.features)} history features joined as of each of {done.rows:,} sessions"


def _materialize(done: materialize.Result) -> str:
    return f"{done.units:,} users x {done.features} values online" if done.units else "no unit or no time: no history"


def _tune(done: tune.Result) -> str:
    if not done.complete:
        return "no trials asked for"
    return f"{done.complete} trials finished so far, {done.pruned} pruned; best log loss {done.best_value:.4f}"


def _train(done: train.Result) -> str:
    metrics = done.evaluation.metrics
    return (
        f"AUC {metrics['auc'].estimate:.4f}, log loss {metrics['log_loss'].estimate:.4f}, "
        f"calibration error {metrics['calibration_error'].estimate:.4f}; lowest log loss: {done.evaluation.winner}"
    )


def _first_champion(done: first_champion.Result) -> str:
    if not done.version:
        return "a logistic regression did not pass the gate"
    return f"version {done.version}, {'a logistic regression' if done.trained else 'as before'}"


def _register(done: register.Result) -> str:
    if not done.gate.passed:
        return f"version {done.version} did not pass the gate: {' '.join(done.gate.reasons)}"
    return f"{done.model} version {done.version} passed the gate: {', '.join(done.aliases)}"


def _impact(done: impact.Result) -> str:
    best = ", ".join(kpi.kpi for kpi in done.study.kpis[:3])
    agreed = f"; rank correlation with the truth {done.agreement.spearman.estimate:.2f}" if done.agreement else ""
    return f"worth most: {best}{agreed}"


def _experiment(done: experiment.Result) -> str:
    if not done.arms:
        return done.reason
    served = sum(arm.served for arm in done.arms)
    return f"{served:,} users served by two versions, {done.outcomes:,} outcomes ({done.requests:,} requests)"


def _decide(done: decide.Result) -> str:
    return f"[bold]{done.decision.replace('_', ' ')}[/]: {done.reasons[0] if done.reasons else ''}"


def _promote(done: promote.Result) -> str:
    return f"champion is now version {done.champion_after}, was {done.champion_before}"


def _drift(done: drift.Result) -> str:
    return f"{done.action}: {done.reasons[0]}" if done.reasons else done.action


_Headline = Callable[[Any], str]
_HEADLINES: dict[str, tuple[type[Any], _Headline]] = {
    "simulate": (simulate.Result, _simulate),
    "validate": (validate.Result, _validate),
    "features": (features.Result, _features),
    "materialize": (materialize.Result, _materialize),
    "first_champion": (first_champion.Result, _first_champion),
    "tune": (tune.Result, _tune),
    "train": (train.Result, _train),
    "register": (register.Result, _register),
    "impact": (impact.Result, _impact),
    "experiment": (experiment.Result, _experiment),
    "decide": (decide.Result, _decide),
    "promote": (promote.Result, _promote),
    "drift": (drift.Result, _drift),
}


def headline(stage: str, ports: Ports, *, run: str) -> tuple[str, float | None]:
    """What a finished stage found, in one line, and its duration in seconds; None where it was skipped."""
    kind, words = _HEADLINES[_step(stage)]
    try:
        recorded = results.recall(kind, ports, run=run, stage=stage)
    except NotFound as skipped:
        return skipped.message, None
    return words(recorded.result), recorded.seconds


def _step(stage: str) -> str:
    """The step of a stage: the second worker of a search is `tune-1`."""
    return stage.partition("-")[0]


@contextmanager
def announced(ports: Ports, runs: dict[str, str], *, enabled: bool = True) -> Iterator[None]:
    """Print a line on standard error for each stage that finishes while the block runs.

    Args:
        ports: Where results are kept.
        runs: Run id to what its lines are marked with.
        enabled: Whether to print at all.
    """
    if not enabled:
        yield
        return
    ended = Event()
    watcher = Thread(target=_watch, args=(ports, runs, ended), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _watch(ports: Ports, runs: dict[str, str], ended: Event) -> None:
    shown: set[tuple[str, str]] = set()
    while True:
        last = ended.is_set()
        _show_new(ports, runs, shown)
        if last:
            return
        ended.wait(_POLL_SECONDS)


def _show_new(ports: Ports, runs: dict[str, str], shown: set[tuple[str, str]]) -> None:
    for run, mark in runs.items():
        fresh = [path for path in (ports.home / "runs" / run).glob("*.json") if _step(path.stem) in _HEADLINES]
        for path in sorted(fresh, key=lambda path: path.stat().st_mtime):
            if (run, path.stem) in shown:
                continue
            shown.add((run, path.stem))
            words, seconds = headline(path.stem, ports, run=run)
            _print(path.stem, mark, words, seconds)


def _print(stage: str, mark: str, words: str, seconds: float | None) -> None:
    tick, style, took = ("✓", "green", f"{seconds:6.1f} s") if seconds is not None else ("–", "yellow", "  skipped")
    name = f"{mark} {stage}".strip()
    console.err.print(f"[{style}]{tick}[/] {name:<22} [dim]{took:>9}[/]  {words}", highlight=False, soft_wrap=True)
