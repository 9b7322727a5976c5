import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable
from trimtab.models.data import TrainingData
from trimtab.models.devices import place
from trimtab.models.recipe import Recipe
from trimtab.models.tune import (
    SPACE,
    Budget,
    best_params,
    default_params,
    open_storage,
    open_study,
    search,
    suggest,
    tune,
)


def _storage(folder: Path) -> str:
    return f"journal://{folder / 'study.journal'}"


def _bowl(trial: optuna.Trial) -> float:
    return float((trial.suggest_float("learning_rate", 5e-4, 8e-3, log=True) - 0.003) ** 2)


def _hang_on_third(storage: str, reached: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = _bowl(trial)
        if trial.number == 2:
            Path(reached).touch()
            time.sleep(600)
        return value

    search(open_study(storage, "s"), objective, budget=Budget(trials=5))


def test_a_killed_worker_is_resumed_and_its_trial_retried(tmp_path: Path) -> None:
    storage, reached = _storage(tmp_path), tmp_path / "reached"
    worker = multiprocessing.get_context("fork").Process(target=_hang_on_third, args=(storage, str(reached)))
    worker.start()
    deadline = time.monotonic() + 60
    while not reached.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    left = open_study(storage, "s")
    assert [trial.state for trial in left.trials] == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.RUNNING]

    result = search(open_study(storage, "s"), _bowl, budget=Budget(trials=5))

    assert (result.complete, result.failed) == (5, 1)
    trials = open_study(storage, "s").trials
    assert trials[2].state == TrialState.FAIL
    assert trials[3].params == trials[2].params


def test_a_finished_study_runs_nothing_more(tmp_path: Path) -> None:
    search(open_study(_storage(tmp_path), "s"), _bowl, budget=Budget(trials=3))

    def never(trial: optuna.Trial) -> float:
        raise AssertionError

    assert search(open_study(_storage(tmp_path), "s"), never, budget=Budget(trials=3)).complete == 3


def test_workers_share_one_study(tmp_path: Path) -> None:
    for worker in (0, 1, 2):
        budget = Budget(trials=7, worker=worker, workers=3)
        result = search(open_study(_storage(tmp_path), "s", worker=worker), _bowl, budget=budget)
    assert result.complete == 7
    owners = [trial.user_attrs["worker"] for trial in open_study(_storage(tmp_path), "s").trials]
    assert [owners.count(worker) for worker in (0, 1, 2)] == [3, 2, 2]


def test_another_workers_running_trial_is_left_alone(tmp_path: Path) -> None:
    study = open_study(_storage(tmp_path), "s")
    trial = study.ask()
    trial.set_user_attr("worker", 1)
    search(study, _bowl, budget=Budget(trials=4, worker=0, workers=2))
    assert study.trials[0].state == TrialState.RUNNING


def test_tuning_starts_from_the_defaults_and_improves_on_nothing_worse(data: TrainingData, tmp_path: Path) -> None:
    heard: list[int] = []
    result = tune(
        data,
        storage=_storage(tmp_path),
        study="s",
        budget=Budget(trials=3, epochs=2, train_rows=400),
        placement=place("cpu"),
        seed=1,
        on_trial=lambda done, total, note: heard.append(done),
    )
    first = open_study(_storage(tmp_path), "s").trials[0]
    assert first.params == default_params()
    assert first.value is not None
    assert result.best_value <= first.value
    assert heard == [1, 2, 3]
    assert set(result.best_params) == set(SPACE)
    assert best_params(_storage(tmp_path), "s") == result.best_params
    Recipe().updated(result.best_params)


def test_the_defaults_lie_in_the_search_space() -> None:
    study = optuna.create_study()
    study.enqueue_trial(default_params())
    assert suggest(study.ask()) == default_params()


def test_a_database_gets_heartbeats(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    assert isinstance(storage, optuna.storages.RDBStorage)
    assert storage.get_heartbeat_interval() == 60
    assert storage.get_heartbeat_stale_trial_callback() is not None
    result = search(open_study(f"sqlite:///{tmp_path / 'study.db'}", "s"), _bowl, budget=Budget(trials=2))
    assert result.complete == 2


def test_diverged_trials_do_not_end_the_search(tmp_path: Path) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            raise TrimtabError("training diverged")
        return _bowl(trial)

    result = search(open_study(_storage(tmp_path), "s"), objective, budget=Budget(trials=2))
    assert (result.complete, result.failed) == (2, 1)


def test_time_runs_out(tmp_path: Path) -> None:
    def slow(trial: optuna.Trial) -> float:
        time.sleep(0.05)
        return _bowl(trial)

    result = search(open_study(_storage(tmp_path), "s"), slow, budget=Budget(trials=500, seconds=0.15))
    assert 1 <= result.complete < 10


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    study = open_study(_storage(tmp_path), "s")
    with pytest.raises(BadInput, match="worker"):
        search(study, _bowl, budget=Budget(trials=2, worker=2, workers=2))
    with pytest.raises(BadInput, match="not a URL"):
        open_storage("study.db")
    with pytest.raises(Unavailable):
        open_storage(f"sqlite:///{tmp_path}/no/such/folder/study.db")
    with pytest.raises(NotFound):
        best_params(_storage(tmp_path), "other")
    with pytest.raises(BadInput, match="momentum"):
        Recipe().updated({"momentum": 0.9})


def test_samplers_of_workers_differ(tmp_path: Path) -> None:
    drawn = []
    for worker in (0, 1):
        study = open_study(_storage(tmp_path / str(worker)), "s", seed=5, worker=worker)
        drawn.append(study.ask().suggest_float("x", 0, 1))
    assert drawn[0] != drawn[1]
    assert np.isfinite(drawn).all()
