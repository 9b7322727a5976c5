"""Tuning: several workers, one study, resumable after a kill. The only module that knows Optuna.

A study is named after its data and its search space, and its storage outlives every worker. A worker that was killed
leaves a trial behind as running; with a database its heartbeat runs out and another worker retries the trial, with a
journal the worker's successor (same number) does so when it starts.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable
from trimtab.models.data import TrainingData
from trimtab.models.devices import Placement
from trimtab.models.recipe import Param, Recipe
from trimtab.models.trainer import train_network

OnTrial = Callable[[int, int, str], None]  # trials done, trials wanted, a note
Objective = Callable[[optuna.Trial], float]

HEARTBEAT_SECONDS = 60
GRACE_SECONDS = 180
RETRIES = 3
WORKER = "worker"


@dataclass(frozen=True)
class Budget:
    """How much tuning may cost.

    Attributes:
        trials: Finished trials (complete or pruned) of the whole study.
        worker: Number of this worker, from 0.
        workers: Number of workers on the study.
        epochs: Most epochs of a trial.
        train_rows: Most training rows of a trial, drawn once per study; 0 is all.
        seconds: This worker starts no trial after so long; 0 is no limit.
    """

    trials: int
    worker: int = 0
    workers: int = 1
    epochs: int = 12
    train_rows: int = 60_000
    seconds: float = 0.0

    @property
    def share(self) -> int:
        """Trials of this worker; the first workers take what does not divide."""
        return self.trials // self.workers + (self.worker < self.trials % self.workers)


@dataclass(frozen=True)
class TuneResult:
    """State of a study.

    Attributes:
        study: Its name.
        complete: Trials that ran to their end.
        pruned: Trials given up early.
        failed: Trials that died or diverged.
        best_value: Lowest validation log loss; NaN is never returned.
        best_params: Parameters of that trial.
    """

    study: str
    complete: int
    pruned: int
    failed: int
    best_value: float
    best_params: dict[str, Param]


def tune(
    data: TrainingData,
    *,
    storage: str,
    study: str,
    budget: Budget,
    placement: Placement,
    seed: int,
    on_trial: OnTrial | None = None,
) -> TuneResult:
    """Run this worker's share of a study's trials; trials that an earlier life finished count.

    Args:
        data: Prepared rows; test rows are not touched.
        storage: `journal://PATH` or an SQLAlchemy URL.
        study: Name of the study, equal for all workers.
        budget: How much.
        placement: Where to train.
        seed: Seed of the study; each worker and trial derives its own.
        on_trial: Hears progress.

    Raises:
        BadInput: The budget is not sensible, or the storage is not a known kind.
        Unavailable: The storage does not answer.
    """
    small = _subsample(data, budget.train_rows, seed)

    def objective(trial: optuna.Trial) -> float:
        return _trial_loss(trial, small, budget, placement, seed)

    opened = open_study(storage, study, seed=seed, worker=budget.worker)
    return search(opened, objective, budget=budget, on_trial=on_trial)


def search(study: optuna.Study, objective: Objective, *, budget: Budget, on_trial: OnTrial | None = None) -> TuneResult:
    """Run an objective until this worker's share of trials is finished.

    Args:
        study: An open study.
        objective: Trial to loss.
        budget: How much.
        on_trial: Hears progress.

    Raises:
        BadInput: The budget is not sensible.
        TrimtabError: No trial came through.
    """
    if budget.trials < 1 or not 0 <= budget.worker < budget.workers:
        raise BadInput(
            f"trials must be at least 1 and worker in 0..workers-1, not {budget.trials} and "
            f"{budget.worker} of {budget.workers}."
        )
    started = time.perf_counter()
    _recover(study, budget.worker)
    if budget.worker == 0 and not study.get_trials(deepcopy=False):
        study.enqueue_trial(default_params())
    failures = 0
    while _finished(study, budget.worker) < budget.share and failures <= RETRIES * budget.trials:
        if budget.seconds and time.perf_counter() - started > budget.seconds:
            break
        failures += _one(study, objective, budget.worker)
        if on_trial:
            on_trial(_finished(study, budget.worker), budget.share, _note(study))
    return summary(study)


def open_study(storage: str, name: str, *, seed: int = 0, worker: int = 0) -> optuna.Study:
    """Create or open a study.

    Raises:
        BadInput: The storage is not a known kind.
        Unavailable: It does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=_seed(seed, worker), n_startup_trials=5, multivariate=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=3)
    opened = open_storage(storage)
    return optuna.create_study(
        storage=opened, study_name=name, sampler=sampler, pruner=pruner, direction="minimize", load_if_exists=True
    )


def open_storage(storage: str) -> BaseStorage:
    """Open `journal://PATH` or a database; a database gets heartbeats, so that trials of dead workers are retried.

    Raises:
        BadInput: The URL is not a known kind.
        Unavailable: The database does not answer.
    """
    kind, separator, rest = storage.partition("://")
    if not separator or not rest:
        raise BadInput(f"study storage '{storage}' is not a URL.", remedy="Give journal://PATH or postgresql://…")
    if kind == "journal":
        Path(rest).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(rest, lock_obj=JournalFileOpenLock(rest, grace_period=30)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                storage,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
            )
    except Exception as error:
        raise Unavailable(f"the study storage '{kind}://…' cannot be opened: {type(error).__name__}.") from error


def summary(study: optuna.Study) -> TuneResult:
    """Count a study's trials and name its best.

    Raises:
        TrimtabError: No trial is complete.
    """
    trials = study.get_trials(deepcopy=False)
    counts = {state: sum(trial.state == state for trial in trials) for state in TrialState}
    if not counts[TrialState.COMPLETE]:
        raise TrimtabError(f"no trial of study '{study.study_name}' came through.", remedy="Give it more time.")
    best = study.best_trial
    return TuneResult(
        study.study_name,
        counts[TrialState.COMPLETE],
        counts[TrialState.PRUNED],
        counts[TrialState.FAIL],
        float(study.best_value),
        dict(best.params),
    )


def best_params(storage: str, study: str) -> dict[str, Param]:
    """Parameters of a study's best trial.

    Raises:
        NotFound: There is no such study.
    """
    try:
        return summary(optuna.load_study(study_name=study, storage=open_storage(storage))).best_params
    except KeyError as error:
        raise NotFound(f"study '{study}' does not exist.", remedy="Run the tune step first.") from error


def default_params() -> dict[str, Param]:
    """The untuned recipe's point in the search space; the first trial, so that tuning starts from it."""
    params = Recipe().params()
    return {name: params[name] for name in SPACE}


def suggest(trial: optuna.Trial) -> dict[str, Param]:
    """Draw one point of the search space."""
    return {name: draw(trial, name) for name, draw in SPACE.items()}


# Batch size and widths are categorical: on Gaudi each new shape is compiled, so few of them are tried.
SPACE: dict[str, Callable[[optuna.Trial, str], Param]] = {
    "learning_rate": lambda trial, name: trial.suggest_float(name, 5e-4, 8e-3, log=True),
    "weight_decay": lambda trial, name: trial.suggest_float(name, 1e-3, 0.3, log=True),
    "dropout": lambda trial, name: trial.suggest_float(name, 0.0, 0.4),
    "frequency_scale": lambda trial, name: trial.suggest_float(name, 0.02, 0.4, log=True),
    "width": lambda trial, name: trial.suggest_categorical(name, [32, 64, 128]),
    "depth": lambda trial, name: trial.suggest_int(name, 1, 3),
    "batch_size": lambda trial, name: trial.suggest_categorical(name, [512, 1024]),
}


def _trial_loss(trial: optuna.Trial, data: TrainingData, budget: Budget, placement: Placement, seed: int) -> float:
    recipe = Recipe().updated({**suggest(trial), "epochs": budget.epochs})
    pruned = False

    def on_epoch(epoch: int, log_loss: float) -> bool:
        nonlocal pruned
        trial.report(log_loss, epoch)
        pruned = trial.should_prune()
        return pruned

    rng = np.random.default_rng([seed, 7])  # equal for all trials: they differ by their parameters alone
    _, fitted = train_network(data, recipe=recipe, placement=placement, rng=rng, on_epoch=on_epoch)
    if pruned:
        raise optuna.TrialPruned
    return fitted.log_loss


def _one(study: optuna.Study, objective: Objective, worker: int) -> int:
    """Run one trial; 1 where it failed. A trial belongs to its worker before anything else is known of it."""

    def owned(trial: optuna.Trial) -> float:
        trial.set_user_attr(WORKER, worker)
        return objective(trial)

    before = _count(study, TrialState.FAIL)
    study.optimize(owned, n_trials=1, catch=(TrimtabError,))
    return _count(study, TrialState.FAIL) - before


def _recover(study: optuna.Study, worker: int) -> None:
    """Retry the trials that an earlier life of this worker left running (nobody else would, without heartbeats)."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.user_attrs.get(WORKER) == worker:
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params)


def _finished(study: optuna.Study, worker: int) -> int:
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return sum(trial.user_attrs.get(WORKER) == worker for trial in study.get_trials(deepcopy=False, states=states))


def _count(study: optuna.Study, state: TrialState) -> int:
    return len(study.get_trials(deepcopy=False, states=(state,)))


def _note(study: optuna.Study) -> str:
    complete: list[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return f"best log loss {min(trial.value for trial in complete):.4f}" if complete else "no trial complete yet"


def _subsample(data: TrainingData, rows: int, seed: int) -> TrainingData:
    """The same prepared data with fewer training and validation rows, equal for all workers."""
    rng = np.random.default_rng([seed, 6])
    if not rows:
        return data
    parts = {}
    for name, most in (("train", rows), ("validation", rows // 2)):
        part = getattr(data, name)
        if len(part.label) > most:
            parts[name] = part.take(np.sort(rng.choice(len(part.label), most, replace=False)))
    return replace(data, **parts)


def _seed(seed: int, worker: int) -> int:
    return int(np.random.default_rng([seed, 8, worker]).integers(2**31))
