import copy

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score
from torch import nn

from trimtab.models.architecture import NetworkOptions
from trimtab.models.data import TrainingData
from trimtab.models.devices import place
from trimtab.models.fit import (
    EVALUATION_ROWS,
    FitOptions,
    Rows,
    Schedule,
    _masked_log_loss,
    _pad,
    _schedule,
    fit,
    seeded,
)
from trimtab.models.networks import build_network
from trimtab.models.recipe import Recipe
from trimtab.models.trainer import train_network

QUICK = Recipe().updated({"epochs": 6, "batch_size": 128, "width": 32})


def test_it_learns(data: TrainingData) -> None:
    network, fitted = train_network(data, recipe=QUICK, placement=place("cpu"), rng=np.random.default_rng(0))
    rows = data.rows(data.test)
    with torch.inference_mode():
        logits = network(rows.values, rows.codes)
    assert roc_auc_score(data.test.label, logits) > 0.7
    assert fitted.log_loss == min(fitted.validation_curve)
    assert fitted.validation_curve[fitted.best_epoch - 1] == fitted.log_loss


def test_the_best_weights_come_back(data: TrainingData) -> None:
    recipe = Recipe().updated({"epochs": 12, "learning_rate": 0.05, "batch_size": 64, "patience": 3})
    network, fitted = train_network(data, recipe=recipe, placement=place("cpu"), rng=np.random.default_rng(0))
    assert fitted.best_epoch < len(fitted.validation_curve)
    assert len(fitted.validation_curve) == fitted.best_epoch + 3
    padded = _pad(data.rows(data.validation))
    assert _masked_log_loss(network, padded, place("cpu")) == pytest.approx(fitted.log_loss, abs=1e-7)


def test_equal_seeds_give_equal_weights_and_leave_global_state_alone(data: TrainingData) -> None:
    before = torch.get_rng_state()
    networks = [
        train_network(data, recipe=QUICK, placement=place("cpu"), rng=np.random.default_rng(seed))[0]
        for seed in (3, 3, 4)
    ]
    assert torch.equal(before, torch.get_rng_state())
    first, second, third = (torch.cat([p.flatten() for p in network.parameters()]) for network in networks)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("rows", [10, EVALUATION_ROWS, EVALUATION_ROWS + 7])
def test_padding_does_not_count(rows: int) -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(rows, 3)).astype(np.float32))
    label = torch.from_numpy(rng.integers(0, 2, rows).astype(np.float32))

    class First(nn.Module):
        def forward(self, values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
            return values[:, 0]

    padded = _pad(Rows(values, torch.zeros(rows, 0, dtype=torch.int64), label))
    assert len({chunk[0].shape for chunk in padded.chunks}) == 1
    expected = log_loss(label, torch.sigmoid(values[:, 0].double()))
    assert _masked_log_loss(First(), padded, place("cpu")) == pytest.approx(expected, abs=1e-6)


def test_every_training_batch_has_one_shape(data: TrainingData) -> None:
    seen: set[tuple[int, ...]] = set()

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build_network(data.shape, NetworkOptions(kind="linear"))

        def forward(self, values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.add(tuple(values.shape))
            return torch.as_tensor(self.inner(values, codes))

    options = FitOptions(epochs=2, batch_size=32)
    train, validation = data.rows(data.train), data.rows(data.validation)
    fit(Spy(), train, validation, options=options, placement=place("cpu"), rng=np.random.default_rng(0))
    assert len(train) % 32
    assert seen == {(32, train.values.shape[1])}


def test_on_epoch_stops_the_fit(data: TrainingData) -> None:
    heard: list[int] = []

    def stop(epoch: int, log_loss: float) -> bool:
        heard.append(epoch)
        return epoch == 2

    _, fitted = train_network(data, recipe=QUICK, placement=place("cpu"), rng=np.random.default_rng(0), on_epoch=stop)
    assert heard == [1, 2]
    assert fitted.stopped


def test_averaged_weights_are_the_ones_kept(data: TrainingData) -> None:
    recipe = QUICK.updated({"averaging": 0.05, "epochs": 3})
    network, fitted = train_network(data, recipe=recipe, placement=place("cpu"), rng=np.random.default_rng(0))
    assert _masked_log_loss(network, _pad(data.rows(data.validation)), place("cpu")) == pytest.approx(fitted.log_loss)


def test_few_rows_shrink_the_batch(data: TrainingData) -> None:
    tiny = data.rows(data.train).take(torch.arange(50))
    network = build_network(data.shape, NetworkOptions(kind="linear"))
    before = copy.deepcopy(network.state_dict())
    fit(network, tiny, tiny, options=FitOptions(epochs=2), placement=place("cpu"), rng=np.random.default_rng(0))
    assert not torch.equal(before["head.weight"], network.state_dict()["head.weight"])


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_schedules_end_low(schedule: Schedule) -> None:
    rates = _schedule(FitOptions(schedule=schedule, learning_rate=0.01, epochs=10), 20)
    assert len(rates) == 200
    assert rates.max().item() == pytest.approx(0.01, rel=0.02)
    assert rates[-1] < 0.001


def test_seeded_returns_what_it_borrowed() -> None:
    before = torch.get_rng_state()
    with seeded(np.random.default_rng(1)):
        first = torch.rand(3)
    with seeded(np.random.default_rng(1)):
        second = torch.rand(3)
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())
