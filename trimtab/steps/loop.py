"""The whole loop on one dataset: data to verdict, promotion, drift and retraining.

Each stage is a step of its own; this one only decides what comes next. A stage that the data cannot support is
recorded as skipped, with the reason, and the rest goes on.
"""

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trimtab.errors import NotFound
from trimtab.ports import Ports
from trimtab.sessions.spec import DatasetSpec
from trimtab.steps import decide, drift, experiment, promote, report, results, simulate, tune
from trimtab.steps.register import Result as Registered
from trimtab.steps.validate import Result as Validated

PIPELINE = "training"
# What goes wrong in the simulated shop after the experiment, and in what share of as many sessions it is seen.
DRIFT = "release_regression"
DRIFTED_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Config:
    """What to run the loop on.

    Attributes:
        run: Id of the run; results are kept under it.
        data: File with the user's own sessions; empty to simulate some.
        spec: Name or path of the dataset spec.
        sessions: Sessions to simulate.
        users: Most users in the experiment.
        trials: Tuning trials.
        seed: Seed of everything random.
        device: `auto`, `cpu`, `cuda` or `hpu`.
        out: Folder of the report.
        started: Aware time at which the run began, for the report; unknown where absent.
    """

    run: str
    data: str = ""
    spec: str = "ux_sessions"
    sessions: int = 80_000
    users: int = 30_000
    trials: int = 12
    seed: int = 7
    device: str = "auto"
    out: str = "reports/latest"
    started: datetime | None = None

    @property
    def retraining(self) -> str:
        """Id of the run that retrains."""
        return f"{self.run}-retrain"

    @property
    def report(self) -> report.Config:
        """The report of this run, and the command that makes the run again."""
        source = ("--data", self.data, "--spec", self.spec) if self.data else ("--sessions", self.sessions)
        numbers = ("--users", self.users, "--trials", self.trials, "--seed", self.seed)
        device = () if self.device == "auto" else ("--device", self.device)
        command = shlex.join(map(str, ("trimtab", "run", *source, *numbers, *device)))
        return report.Config(
            self.run,
            self.out,
            retrain_run=self.retraining,
            seed=self.seed,
            command=command,
            started=self.started,
        )


def run(config: Config, ports: Ports) -> report.Result:
    """Run the loop and write its report.

    Raises:
        BadInput: The data, the spec or an argument is wrong.
        Unavailable: A service that the profile names does not answer.
    """
    world = _simulated(config, ports)
    _train(config, ports, run=config.run, data=world.data if world else config.data, truth=world.truth if world else "")
    snapshot_id = _recall_snapshot(config.run, ports)
    _, spec = ports.snapshots.read(snapshot_id)
    _experiment(config, ports, snapshot_id=snapshot_id, model=spec.name, world=world.world if world else "")
    _watch(config, ports, snapshot_id=snapshot_id, spec=spec, simulated=world is not None)
    return results.perform(report.run, config.report, ports, run=config.run, stage="report")


def _simulated(config: Config, ports: Ports) -> simulate.Result | None:
    """Sessions with a known truth, where the user brought none."""
    if config.data:
        return None
    folder = ports.home / "data" / f"simulated-{config.sessions}-{config.seed}"
    wanted = simulate.Config(out=str(folder), sessions=config.sessions, seed=config.seed)
    return results.perform(simulate.run, wanted, ports, run=config.run, stage="simulate")


def _train(config: Config, ports: Ports, *, run: str, data: str, truth: str = "", study: str = "") -> None:
    """The training pipeline: validate, features, materialize, tune, train, register, impact."""
    arguments: dict[str, object] = {
        "run": run,
        "data": str(Path(data).absolute()),
        "spec": _spec_argument(config.spec),
        "trials": 0 if study else config.trials,
        "study": study,
        "seed": config.seed,
        "device": config.device,
        "truth": truth,
        "profile": ports.profile_name,
    }
    ports.launcher.submit(PIPELINE, arguments, run_key=run)


def _experiment(config: Config, ports: Ports, *, snapshot_id: str, model: str, world: str) -> None:
    """Serve champion and challenger, decide, and promote if the verdict is to ship."""
    if reason := _no_contest(model, config.run, ports):
        _skip(("experiment", "decide", "promote"), reason, config, ports)
        return
    shown = results.perform(
        experiment.run,
        experiment.Config(snapshot_id, model, world=world, users=config.users, seed=config.seed),
        ports,
        run=config.run,
        stage="experiment",
    )
    verdict = results.perform(
        decide.run,
        decide.Config(shown.experiment, problem=shown.reason),
        ports,
        run=config.run,
        stage="decide",
    )
    if verdict.decision != "ship":
        reason = f"The verdict is {verdict.decision.replace('_', ' ')}; only a ship moves the champion."
        _skip(("promote",), reason, config, ports)
        return
    # The version that was served, which need not be challenger any more: another run may have registered one meanwhile.
    served = shown.arms[-1].version
    wanted = promote.Config(model, served, verdict.decision, experiment=shown.experiment)
    results.perform(promote.run, wanted, ports, run=config.run, stage="promote")


def _no_contest(model: str, run: str, ports: Ports) -> str:
    """Why there are not two versions to compare; empty where there are."""
    registered = results.recall(Registered, ports, run=run, stage="register").result
    if not registered.gate.passed:
        return f"Version {registered.version} did not pass the quality gate, so there is no challenger."
    try:
        ports.registry.resolve(model, "champion")
        ports.registry.resolve(model, "challenger")
    except NotFound:
        return f"Version {registered.version} is the first that passed the gate, so it is champion without a contest."
    return ""


def _watch(config: Config, ports: Ports, *, snapshot_id: str, spec: DatasetSpec, simulated: bool) -> None:
    """Compare newer sessions with those trained on, and retrain where they drifted."""
    if not simulated and spec.timestamp is None:
        reason = f"Spec '{spec.name}' has no timestamp column, so no session is newer than another."
        _skip(("drift", "retrain"), reason, config, ports)
        return
    newer = _drifted(config, ports) if simulated else ""
    wanted = drift.Config(snapshot_id, newer, model=judged_model(spec.name, ports))
    found = results.perform(drift.run, wanted, ports, run=config.run, stage="drift")
    if found.action != "retrain":
        _skip(("retrain",), f"Not asked for: {' '.join(found.reasons) or 'no column drifted.'}", config, ports)
        return
    if not newer:
        _skip(("retrain",), "The model has seen every session there is; run again with newer ones.", config, ports)
        return
    # The study of the first training is near enough: a retraining fits anew, and does not search again.
    searched = results.recall(tune.Result, ports, run=config.run, stage="tune").result.study if config.trials else ""
    _train(config, ports, run=config.retraining, data=newer, study=searched)


def judged_model(model: str, ports: Ports) -> str:
    """The model whose answers are watched beside the columns; empty while no version of it is champion."""
    try:
        ports.registry.resolve(model, "champion")
    except NotFound:
        return ""
    return model


def _drifted(config: Config, ports: Ports) -> str:
    """Sessions of the simulated shop after a release made it slower and changed what users do."""
    folder = ports.home / "data" / f"simulated-{config.sessions}-{config.seed}-{DRIFT}"
    wanted = simulate.Config(
        out=str(folder),
        sessions=max(1, round(config.sessions * DRIFTED_SHARE)),
        seed=config.seed + 1,
        drift=DRIFT,
    )
    return simulate.run(wanted, ports).data


def _skip(stages: tuple[str, ...], reason: str, config: Config, ports: Ports) -> None:
    for stage in stages:
        results.skip(ports, run=config.run, stage=stage, reason=reason)


def _recall_snapshot(run: str, ports: Ports) -> str:
    return results.recall(Validated, ports, run=run, stage="validate").result.snapshot_id


def _spec_argument(spec: str) -> str:
    """A file by its full path, since tasks may run in another folder; a shipped spec by its name."""
    return str(Path(spec).absolute()) if Path(spec).is_file() else spec
