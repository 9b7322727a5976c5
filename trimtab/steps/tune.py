"""Search for a recipe on a snapshot, as one of several workers over one study."""

import hashlib
from dataclasses import dataclass

import numpy as np

from trimtab.models.data import prepare
from trimtab.models.devices import Requested, place
from trimtab.models.recipe import Param
from trimtab.models.split import split_rows
from trimtab.models.tune import SPACE, Budget, tune
from trimtab.ports import Ports
from trimtab.steps.train import training_frame

STAGE = "tune"


@dataclass(frozen=True)
class Config:
    """What to tune.

    Attributes:
        snapshot_id: The snapshot, with its features computed.
        trials: Finished trials of the whole study.
        worker: Number of this worker, from 0.
        workers: Number of workers on the study.
        seed: Seed of the split and the search; the train step must use the same for the test rows to stay unseen.
        device: `auto`, `cpu`, `cuda` or `hpu`.
        max_epochs: Most epochs of a trial.
        max_rows: Most training rows of a trial; 0 is all.
        max_seconds: This worker starts no trial after so long; 0 is no limit.
        study: Name of the study; empty derives it from data and search space.
    """

    snapshot_id: str
    trials: int = 12
    worker: int = 0
    workers: int = 1
    seed: int = 7
    device: Requested = "auto"
    max_epochs: int = 12
    max_rows: int = 60_000
    max_seconds: float = 0.0
    study: str = ""


@dataclass(frozen=True)
class Result:
    """The study after this worker's share.

    Attributes:
        study: Its name, which the train step takes.
        complete: Trials that ran to their end, of all workers.
        pruned: Trials given up early.
        failed: Trials that died or diverged.
        best_value: Lowest validation log loss.
        best_params: Parameters of that trial.
    """

    study: str
    complete: int
    pruned: int
    failed: int
    best_value: float
    best_params: dict[str, Param]


def run(config: Config, ports: Ports) -> Result:
    """Run this worker's trials.

    Raises:
        NotFound: The snapshot or its features do not exist.
        BadInput: The worker's number is not below the number of workers, or the device is not present.
        Unavailable: The study's storage does not answer.
    """
    frame, spec = training_frame(config.snapshot_id, ports)
    split = split_rows(frame, spec, rng=np.random.default_rng(config.seed))
    found = tune(
        prepare(frame, spec, split),
        storage=ports.study_storage,
        study=config.study or study_name(config),
        budget=Budget(
            trials=config.trials,
            worker=config.worker,
            workers=config.workers,
            epochs=config.max_epochs,
            train_rows=config.max_rows,
            seconds=config.max_seconds,
        ),
        placement=place(config.device, recipe_cache=ports.home / "hpu-recipes"),
        seed=config.seed,
        on_trial=lambda done, total, note: ports.progress(STAGE, done, total, note),
    )
    return Result(found.study, found.complete, found.pruned, found.failed, found.best_value, found.best_params)


def study_name(config: Config) -> str:
    """Name of a snapshot's study: equal for the workers of one search, another where a trial means something else."""
    meaning = f"{sorted(SPACE)} {config.seed} {config.max_epochs} {config.max_rows}"
    return f"{config.snapshot_id}-{hashlib.sha256(meaning.encode()).hexdigest()[:8]}"
