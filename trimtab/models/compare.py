"""The main model and its baselines on the same rows: once on the test rows, and by fold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trimtab.models.baselines import fit_trees
from trimtab.models.bundle import ConversionModel
from trimtab.models.data import TrainingData, prepare
from trimtab.models.devices import Placement, place
from trimtab.models.evaluate import Scored
from trimtab.models.manifest import ModelKind
from trimtab.models.metrics import Floats, weighted_metrics
from trimtab.models.recipe import Recipe
from trimtab.models.split import Split
from trimtab.models.threshold import choose_threshold
from trimtab.models.trainer import train_model
from trimtab.sessions.spec import DatasetSpec


@dataclass(frozen=True, slots=True)
class FoldScore:
    """Test metrics of one model on one fold.

    Attributes:
        fold: Number, from 1.
        model: Name of the model.
        auc: Area under the ROC curve.
        log_loss: Mean log loss, in nats.
        accuracy: At the model's threshold.
    """

    fold: int
    model: str
    auc: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class FoldMean:
    """One model over all folds.

    Attributes:
        model: Name of the model.
        auc: Mean area under the ROC curve.
        auc_sd: Its standard deviation over folds.
        log_loss: Mean log loss, in nats.
        log_loss_sd: Its standard deviation over folds.
        accuracy: Mean accuracy at the model's threshold.
    """

    model: str
    auc: float
    auc_sd: float
    log_loss: float
    log_loss_sd: float
    accuracy: float


def fold_means(scores: Sequence[FoldScore]) -> tuple[FoldMean, ...]:
    """Each model over its folds, the lowest mean log loss first; deviations are those of a sample."""
    means = []
    for model in dict.fromkeys(score.model for score in scores):
        own = [score for score in scores if score.model == model]
        auc, loss = np.array([score.auc for score in own]), np.array([score.log_loss for score in own])
        spread = 1 if len(own) > 1 else 0
        accuracy = float(np.mean([score.accuracy for score in own]))
        means.append(
            FoldMean(
                model,
                float(auc.mean()),
                float(auc.std(ddof=spread)),
                float(loss.mean()),
                float(loss.std(ddof=spread)),
                accuracy,
            )
        )
    return tuple(sorted(means, key=lambda mean: mean.log_loss))


def score_test(model: ConversionModel, data: TrainingData) -> Scored:
    """A model's answers on the test rows."""
    return Scored(model.forward_arrays(data.test.numeric, data.test.codes), model.threshold)


def score_baselines(
    data: TrainingData, spec: DatasetSpec, *, kind: ModelKind, rng: np.random.Generator
) -> dict[str, Scored]:
    """The baselines' answers on the test rows; thresholds and calibration come from the validation rows.

    A logistic regression is held against the base rate only; the MLP also against it and against LightGBM.
    """
    rate = float(data.train.label.mean())
    answers = {"constant": (np.full(len(data.validation.label), rate), np.full(len(data.test.label), rate))}
    if kind != "logistic":
        answers["logistic"] = _logistic(data, spec, rng)
        trees = fit_trees(data.train, data.validation, rng=rng)
        answers["lightgbm"] = (trees.predict(data.validation), trees.predict(data.test))
    label = data.validation.label.astype(np.float64)
    return {
        name: Scored(test, choose_threshold(validation, label, spec.costs).value)
        for name, (validation, test) in answers.items()
    }


def score_folds(
    frame: pd.DataFrame,
    spec: DatasetSpec,
    splits: list[Split],
    *,
    kind: ModelKind,
    recipe: Recipe,
    placement: Placement,
    rng: np.random.Generator,
    on_fold: Callable[[int, int], None] | None = None,
) -> tuple[FoldScore, ...]:
    """Train and judge the model and its baselines on each fold, everything learned anew in it.

    Args:
        frame: The training frame.
        spec: Its spec.
        splits: One per fold.
        kind: Kind of the main model.
        recipe: Its architecture and training options.
        placement: Where to train.
        rng: Source of weights, shuffling and bagging.
        on_fold: Hears folds done and folds wanted.
    """
    scores: list[FoldScore] = []
    for fold, split in enumerate(splits, start=1):
        data = prepare(frame, spec, split)
        trained = train_model(data, spec, kind=kind, recipe=recipe, placement=placement, rng=rng)
        answers = {kind: score_test(trained.model, data), **score_baselines(data, spec, kind=kind, rng=rng)}
        scores += _fold_scores(fold, answers, data.test.label.astype(np.float64))
        if on_fold:
            on_fold(fold, len(splits))
    return tuple(scores)


def _fold_scores(fold: int, answers: Mapping[str, Scored], label: Floats) -> list[FoldScore]:
    scores = []
    for name, scored in answers.items():
        metrics = weighted_metrics(scored.probability, label, threshold=scored.threshold)
        auc, log_loss, accuracy = (float(metrics[metric][0]) for metric in ("auc", "log_loss", "accuracy"))
        scores.append(FoldScore(fold, name, auc, log_loss, accuracy))
    return scores


def _logistic(data: TrainingData, spec: DatasetSpec, rng: np.random.Generator) -> tuple[Floats, Floats]:
    simple = train_model(data, spec, kind="logistic", recipe=Recipe(), placement=place("cpu"), rng=rng).model
    validation = simple.forward_arrays(data.validation.numeric, data.validation.codes)
    return validation, simple.forward_arrays(data.test.numeric, data.test.codes)
