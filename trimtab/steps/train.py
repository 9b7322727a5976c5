"""Train a model on a snapshot, judge it beside its baselines, and leave a bundle."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import orjson
import pandas as pd

from trimtab.errors import NotFound
from trimtab.models.compare import FoldMean, FoldScore, fold_means, score_baselines, score_folds, score_test
from trimtab.models.data import TrainingData, prepare
from trimtab.models.devices import Placement, Requested, place
from trimtab.models.distributed import joined
from trimtab.models.evaluate import Evaluation, evaluate
from trimtab.models.fit import OnEpoch
from trimtab.models.provenance import code_version, library_versions
from trimtab.models.recipe import Param, Recipe
from trimtab.models.split import Split, fold_rows, split_rows
from trimtab.models.trainer import Trained, train_model
from trimtab.models.tune import best_params
from trimtab.ports import Ports
from trimtab.sessions.inputs import has_history
from trimtab.sessions.spec import DatasetSpec, dump_spec

STAGE = "train"
EVALUATION = "evaluation.json"


@dataclass(frozen=True)
class Config:
    """What to train.

    Attributes:
        snapshot_id: The snapshot, with its features computed.
        kind: `plr_mlp`, or `logistic` for the simple first champion of a new shop.
        study: Study whose best parameters to use; empty for the defaults.
        seed: Seed of split, weights, shuffling and resamples.
        device: `auto`, `cpu`, `cuda` or `hpu`.
        out: Folder of the bundle; empty for `models/<kind>` in the snapshot's folder.
        folds: Also evaluate by this many folds; 0 for none.
        epochs: Most epochs; 0 leaves it to the recipe.
        resamples: Bootstrap resamples of the evaluation.
    """

    snapshot_id: str
    kind: Literal["plr_mlp", "logistic"] = "plr_mlp"
    study: str = ""
    seed: int = 7
    device: Requested = "auto"
    out: str = ""
    folds: int = 0
    epochs: int = 0
    resamples: int = 200


@dataclass(frozen=True)
class Result:
    """What was trained.

    Attributes:
        bundle: Folder of the model, with `evaluation.json` (this result) in it.
        evaluation: The model on the test rows, beside its baselines.
        params: Parameters of architecture and training.
        seconds: Duration of the step.
        fit_seconds: Duration of the main model's fit; 0 for a logistic regression.
        device: Where it was fitted.
        epochs: Epochs that were run; 0 for a logistic regression.
        best_epoch: The epoch whose weights were kept; 0 for a logistic regression.
        rows: Rows of each part: train, validation, test.
        split: What the split kept apart: `time`, `unit` or `row`.
        temperature: Temperature of the calibration.
        folds: Scores by fold and model.
        fold_means: Each model over the folds, the lowest mean log loss first.
        notes: Snapshot, seed, code and library versions.
    """

    bundle: str
    evaluation: Evaluation
    params: dict[str, Param]
    seconds: float
    fit_seconds: float
    device: str
    epochs: int
    best_epoch: int
    rows: dict[str, int]
    split: str
    temperature: float
    folds: tuple[FoldScore, ...]
    fold_means: tuple[FoldMean, ...]
    notes: dict[str, str]


def run(config: Config, ports: Ports) -> Result:
    """Split, fit, calibrate, choose a threshold, evaluate once on the test rows, and save.

    Raises:
        NotFound: The snapshot, its features or the study does not exist.
        BadInput: A part of the split has one class only, or the device is not present.
    """
    started = time.perf_counter()
    fitted = _fit(config, ports)
    frame, spec, split, data = fitted.frame, fitted.spec, fitted.split, fitted.data
    recipe, placement, trained = fitted.recipe, fitted.placement, fitted.trained
    ports.progress(STAGE, 90, 100, "evaluating beside the baselines")
    test = frame.iloc[split.test]
    evaluation = evaluate(
        config.kind,
        score_test(trained.model, data),
        data.test.label.astype(np.float64),
        baselines=score_baselines(data, spec, kind=config.kind, rng=np.random.default_rng([config.seed, 2])),
        segments=test[list(spec.segments)],
        units=pd.factorize(test[spec.unit])[0] if spec.unit else None,
        rng=np.random.default_rng([config.seed, 3]),
        resamples=config.resamples,
    )
    folds = _folds(frame, spec, recipe=recipe, placement=placement, config=config, ports=ports)
    bundle = trained.model.save(_bundle_folder(config, ports))
    (bundle / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
    result = Result(
        bundle=str(bundle),
        evaluation=evaluation,
        params=recipe.params() if trained.fit else {"kind": "logistic"},
        seconds=time.perf_counter() - started,
        fit_seconds=trained.fit.seconds if trained.fit else 0.0,
        device=placement.device if trained.fit else "cpu",
        epochs=len(trained.fit.validation_curve) if trained.fit else 0,
        best_epoch=trained.fit.best_epoch if trained.fit else 0,
        rows={name: len(getattr(split, name)) for name in ("train", "validation", "test")},
        split=split.ordered_by,
        temperature=trained.model.manifest.calibration.temperature,
        folds=folds,
        fold_means=fold_means(folds),
        notes=dict(trained.model.manifest.notes),
    )
    (bundle / EVALUATION).write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2))
    ports.progress(STAGE, 100, 100)
    return result


def follow(config: Config, ports: Ports) -> None:
    """Take part in the fit that another process runs: the same data, recipe and randomness. Nothing is kept.

    Raises:
        NotFound: The snapshot, its features or the study does not exist.
        BadInput: A part of the split has one class only, or the device is not present.
    """
    _fit(config, ports)


@dataclass(frozen=True)
class _Fitted:
    frame: pd.DataFrame
    spec: DatasetSpec
    split: Split
    data: TrainingData
    recipe: Recipe
    placement: Placement
    trained: Trained


def _fit(config: Config, ports: Ports) -> _Fitted:
    """The model, by all processes that were started for it."""
    placement = place(config.device, recipe_cache=ports.home / "hpu-recipes")
    frame, spec = training_frame(config.snapshot_id, ports)
    split = split_rows(frame, spec, rng=np.random.default_rng(config.seed))
    data = prepare(frame, spec, split)
    recipe = _recipe(config, ports)
    notes = {"snapshot": config.snapshot_id, "seed": str(config.seed), "code": code_version(), **library_versions()}
    with joined(placement.device) as group:
        trained = train_model(
            data,
            spec,
            kind=config.kind,
            recipe=recipe,
            placement=replace(placement, group=group),
            rng=np.random.default_rng([config.seed, 1]),
            on_epoch=_reporter(ports, recipe.fit.epochs),
            notes=notes,
        )
    return _Fitted(frame, spec, split, data, recipe, placement, trained)


def training_frame(snapshot_id: str, ports: Ports) -> tuple[pd.DataFrame, DatasetSpec]:
    """The frame that models of a snapshot are trained on, and its spec.

    Raises:
        NotFound: The snapshot is unknown, or it has units and times but its history features were not computed.
    """
    frame, spec = ports.snapshots.read(snapshot_id)
    path = ports.snapshots.folder(snapshot_id) / "training.parquet"
    if path.is_file():
        return pd.read_parquet(path), spec
    if has_history(spec):
        raise NotFound(f"snapshot '{snapshot_id}' has no features yet.", remedy="Run the features step first.")
    return frame, spec


def _recipe(config: Config, ports: Ports) -> Recipe:
    recipe = Recipe()
    if config.study:
        recipe = recipe.updated(best_params(ports.study_storage, config.study))
    return recipe.updated({"epochs": config.epochs}) if config.epochs else recipe


def _reporter(ports: Ports, epochs: int) -> OnEpoch:
    def on_epoch(epoch: int, log_loss: float) -> bool:
        ports.progress(STAGE, round(90 * epoch / (epochs + 1)), 100, f"validation log loss {log_loss:.4f}")
        return False

    return on_epoch


def _folds(
    frame: pd.DataFrame, spec: DatasetSpec, *, recipe: Recipe, placement: Placement, config: Config, ports: Ports
) -> tuple[FoldScore, ...]:
    if not config.folds:
        return ()
    rng = np.random.default_rng([config.seed, 4])
    return score_folds(
        frame,
        spec,
        fold_rows(frame, spec, folds=config.folds, rng=rng),
        kind=config.kind,
        recipe=recipe,
        placement=placement,
        rng=rng,
        on_fold=lambda done, total: ports.progress("folds", done, total),
    )


def _bundle_folder(config: Config, ports: Ports) -> Path:
    return Path(config.out) if config.out else ports.snapshots.folder(config.snapshot_id) / "models" / config.kind
