"""From prepared data to a calibrated model with a threshold."""

import math
from dataclasses import dataclass

import numpy as np
from torch import nn

from trimtab.errors import TrimtabError
from trimtab.models.architecture import NetworkOptions
from trimtab.models.baselines import fit_logistic
from trimtab.models.bundle import ConversionModel
from trimtab.models.calibrate import Calibration, calibrate
from trimtab.models.data import TrainingData
from trimtab.models.devices import Placement
from trimtab.models.fit import FitResult, OnEpoch, fit, seeded
from trimtab.models.manifest import Manifest, ModelKind
from trimtab.models.networks import build_network
from trimtab.models.recipe import Recipe
from trimtab.models.threshold import choose_threshold
from trimtab.sessions.spec import DatasetSpec


@dataclass(frozen=True)
class Trained:
    """A model and how its fit went.

    Attributes:
        model: The calibrated model.
        fit: The fit; None for a logistic regression, which has no epochs.
    """

    model: ConversionModel
    fit: FitResult | None


def train_model(
    data: TrainingData,
    spec: DatasetSpec,
    *,
    kind: ModelKind,
    recipe: Recipe,
    placement: Placement,
    rng: np.random.Generator,
    on_epoch: OnEpoch | None = None,
    notes: dict[str, str] | None = None,
) -> Trained:
    """Fit, calibrate on validation rows, and choose the threshold there.

    Args:
        data: Prepared rows.
        spec: The dataset spec.
        kind: `plr_mlp` or `logistic`.
        recipe: Architecture and training options of the MLP.
        placement: Where to train it.
        rng: Source of initial weights, shuffling and dropout.
        on_epoch: Hears each epoch, and may stop the fit.
        notes: Kept in the model's manifest.

    Raises:
        TrimtabError: The fit diverged.
    """
    fitted: FitResult | None = None
    if kind == "logistic":
        rows = data.rows(data.train, hide=rng)
        network: nn.Module = fit_logistic(rows.values, rows.codes, data.train.label.astype(np.float64), data.shape)
        options = NetworkOptions(kind="linear")
    else:
        network, fitted = train_network(data, recipe=recipe, placement=placement, rng=rng, on_epoch=on_epoch)
        options = recipe.network
    manifest = Manifest(
        name=spec.name,
        kind=kind,
        encoder=data.encoder,
        shape=data.shape,
        options=options,
        knots=data.preprocessor.knots,
        calibration=Calibration(),
        threshold=0.5,
        action_cost=spec.costs.action,
        notes=notes or {},
    )
    return Trained(_decide(ConversionModel(manifest, data.preprocessor, network), data, spec), fitted)


def train_network(
    data: TrainingData,
    *,
    recipe: Recipe,
    placement: Placement,
    rng: np.random.Generator,
    on_epoch: OnEpoch | None = None,
) -> tuple[nn.Module, FitResult]:
    """Build and fit one network.

    Raises:
        TrimtabError: The fit diverged.
    """
    with seeded(rng):
        network = build_network(data.shape, recipe.network)
    fitted = fit(
        network,
        data.rows(data.train, hide=rng),
        data.rows(data.validation),
        options=recipe.fit,
        placement=placement,
        rng=rng,
        on_epoch=on_epoch,
    )
    if not math.isfinite(fitted.log_loss):
        raise TrimtabError(
            "training diverged: the validation log loss is not finite.", remedy="Lower the learning rate."
        )
    return network, fitted


def _decide(model: ConversionModel, data: TrainingData, spec: DatasetSpec) -> ConversionModel:
    label = data.validation.label.astype(np.float64)
    logits = model.logits(data.validation.numeric, data.validation.codes)
    calibration = calibrate(logits, label)
    threshold = choose_threshold(calibration.probability(logits), label, spec.costs)
    return model.decided(calibration=calibration, threshold=threshold.value)
