"""One training loop for CPU, CUDA and Gaudi.

The data live on the device, each epoch gathers its permutation once and then only slices, every batch has the same
shape (the last, short one is dropped while training; evaluation is padded and masked), and the host reads one number
back per epoch. On a CPU that is several times faster than a DataLoader; on Gaudi it is what keeps graphs from being
compiled again. Of several processes that share a fit, each holds and sees its share of the rows.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trimtab.models.devices import Placement
from trimtab.models.distributed import Group

Schedule = Literal["cosine", "onecycle", "constant"]
# Hears epoch (from 1) and validation log loss after each epoch; returning True stops the fit (a pruned trial).
OnEpoch = Callable[[int, float], bool]

EVALUATION_ROWS = 4096
STEPS_PER_EPOCH = 40  # an epoch with fewer steps gets smaller batches
SMALLEST_BATCH = 32


@dataclass(frozen=True)
class FitOptions:
    """How a network is trained.

    Attributes:
        epochs: Most passes over the training rows.
        batch_size: Most rows per step; halved where few training rows would make an epoch of too few steps.
        learning_rate: Highest learning rate of the schedule.
        weight_decay: Decoupled decay of weight matrices.
        schedule: Shape of the learning rate over all steps.
        warmup: Share of steps over which the rate rises (`onecycle` only).
        patience: Epochs without a better validation log loss before the fit stops.
        averaging: Per-step weight of the running average of the weights that is evaluated and kept; 0 is off.
    """

    epochs: int = 20
    batch_size: int = 1024
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    schedule: Schedule = "onecycle"
    warmup: float = 0.15
    patience: int = 4
    averaging: float = 0.01


@dataclass(frozen=True)
class Rows:
    """Preprocessed rows, on one device.

    Attributes:
        values: Scores and flags, float32 [rows, p + m].
        codes: Category codes, int64 [rows, c].
        label: 0 or 1, float32 [rows].
    """

    values: Tensor
    codes: Tensor
    label: Tensor

    def __len__(self) -> int:
        return int(self.label.shape[0])

    def to(self, device: str) -> "Rows":
        """The same rows on a device."""
        return Rows(self.values.to(device), self.codes.to(device), self.label.to(device))

    def take(self, index: Tensor) -> "Rows":
        """Some rows, gathered."""
        return Rows(*(column.index_select(0, index) for column in (self.values, self.codes, self.label)))

    def of(self, group: Group) -> "Rows":
        """This process's share."""
        return self if group.size == 1 else self.take(group.share(len(self)))


@dataclass(frozen=True)
class FitResult:
    """What a fit did.

    Attributes:
        best_epoch: Epoch (from 1) whose weights were kept.
        log_loss: Validation log loss of the kept weights.
        train_curve: Training log loss by epoch.
        validation_curve: Validation log loss by epoch.
        stopped: Whether `on_epoch` asked to stop.
        seconds: Duration.
    """

    best_epoch: int
    log_loss: float
    train_curve: tuple[float, ...]
    validation_curve: tuple[float, ...]
    stopped: bool
    seconds: float


@contextmanager
def seeded(rng: np.random.Generator, *, device: str = "cpu") -> Iterator[None]:
    """Borrow torch's global random state for the block, seeded from `rng`, and give it back as it was.

    Weight initialisation and dropout can draw from nowhere else.
    """
    accelerators = [] if device == "cpu" else [0]
    with torch.random.fork_rng(devices=accelerators, device_type="cuda" if device == "cpu" else device):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


def fit(
    network: nn.Module,
    train: Rows,
    validation: Rows,
    *,
    options: FitOptions,
    placement: Placement,
    rng: np.random.Generator,
    on_epoch: OnEpoch | None = None,
) -> FitResult:
    """Train in place, stop early on validation log loss, and leave the best weights in the network (on the CPU).

    Args:
        network: Maps (values, codes) to logits.
        train: Training rows.
        validation: Rows that decide when to stop.
        options: How to train.
        placement: Where to train.
        rng: Source of shuffling, dropout and nothing else.
        on_epoch: Hears each epoch's validation log loss, and may stop the fit.
    """
    started = time.perf_counter()
    train, validation = train.of(placement.group), validation.of(placement.group)
    with seeded(rng, device=placement.device), placement.limited():
        loop = _Loop(network, train, options, placement)
        padded = _pad(validation.to(placement.device))
        watch = _BestWeights(patience=options.patience)
        stopped = False
        curves: tuple[list[float], list[float]] = ([], [])
        for epoch in range(1, options.epochs + 1):
            trained = loop.epoch(torch.from_numpy(rng.permutation(len(train))))
            curves[0].append(trained)
            curves[1].append(_masked_log_loss(loop.evaluated, padded, placement))
            done = watch.see(epoch, curves[1][-1], loop.weights)
            stopped = bool(on_epoch and on_epoch(epoch, curves[1][-1]))
            if stopped or done:
                break
        network.to("cpu")
        watch.restore(network)
    seconds = time.perf_counter() - started
    return FitResult(watch.epoch, watch.log_loss, tuple(curves[0]), tuple(curves[1]), stopped, seconds)


def predict_logits(network: nn.Module, values: Tensor, codes: Tensor, *, rows: int = 16_384) -> npt.NDArray[np.float64]:
    """Logits of a network on the CPU, [rows], in float64 for what follows."""
    network.eval()
    with torch.inference_mode():
        parts = [
            network(values[start : start + rows], codes[start : start + rows]) for start in range(0, len(values), rows)
        ]
    return torch.cat(parts).double().numpy() if parts else np.empty(0)


class _Loop:
    """The state of one fit: network, optimiser, schedule and data on the device."""

    def __init__(self, network: nn.Module, train: Rows, options: FitOptions, placement: Placement) -> None:
        self.network = network.to(placement.device)
        self.compiled = placement.compiled(self.network)
        self.rows = train.to(placement.device)
        self.placement = placement
        size = placement.group.size
        self.batch = max(1, _batch_size(options.batch_size, len(train) * size) // size)
        self.steps = len(train) // self.batch
        self.rates = _schedule(options, self.steps).to(placement.device)
        self.rate = self.rates[0].clone()
        self.optimizer = placement.optimizer(network, learning_rate=self.rate, weight_decay=options.weight_decay)
        self.averaging = options.averaging
        self.average = copy.deepcopy(self.network) if options.averaging else None
        self.done = 0

    @property
    def evaluated(self) -> nn.Module:
        """The network whose validation loss counts."""
        return self.average if self.average is not None else self.compiled

    @property
    def weights(self) -> dict[str, Tensor]:
        """The weights whose validation loss counts."""
        return (self.average if self.average is not None else self.network).state_dict()

    def epoch(self, permutation: Tensor) -> float:
        """One pass; returns its mean training log loss."""
        self.compiled.train()
        shuffled = self.rows.take(permutation[: self.steps * self.batch].to(self.placement.device))
        total = torch.zeros((), device=self.placement.device)
        batches = zip(
            shuffled.values.split(self.batch),
            shuffled.codes.split(self.batch),
            shuffled.label.split(self.batch),
            strict=True,
        )
        for values, codes, label in batches:
            self.rate.copy_(self.rates[self.done])
            with self.placement.autocast():
                logits = self.compiled(values, codes)
            loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), label)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.placement.group.average_gradients(self.network.parameters())
            self.optimizer.step()
            total += loss.detach()
            self.done += 1
            self._average()
        return float(self.placement.group.mean(total)) / self.steps

    def _average(self) -> None:
        if self.average is None:
            return
        weight = max(self.averaging, 1 / (self.done + 1))
        with torch.no_grad():
            targets = list(self.average.parameters())
            torch._foreach_lerp_(targets, list(self.network.parameters()), weight)


class _BestWeights:
    """Remembers the best weights and when to give up."""

    def __init__(self, *, patience: int) -> None:
        self.patience = patience
        self.epoch = 0
        self.log_loss = math.inf
        self.weights: dict[str, Tensor] = {}

    def see(self, epoch: int, log_loss: float, weights: dict[str, Tensor]) -> bool:
        """Note an epoch; True when it is time to stop."""
        if log_loss < self.log_loss or not self.weights:
            self.epoch, self.log_loss = epoch, log_loss
            self.weights = {name: value.detach().clone() for name, value in weights.items()}
        return epoch - self.epoch >= self.patience or not math.isfinite(log_loss)

    def restore(self, network: nn.Module) -> None:
        """Put the best weights into the network."""
        network.load_state_dict(self.weights)
        network.eval()


@dataclass(frozen=True)
class _Padded:
    """Rows in equal chunks, the last one padded, with a mask of the real ones."""

    chunks: tuple[tuple[Tensor, Tensor, Tensor, Tensor], ...]
    rows: int


def _pad(rows: Rows) -> _Padded:
    size = min(EVALUATION_ROWS, max(1, len(rows)))
    missing = -len(rows) % size
    index = torch.arange(len(rows) + missing, device=rows.label.device)
    mask = (index < len(rows)).float()
    padded = rows.take(index.clamp(max=len(rows) - 1))
    parts = zip(
        padded.values.split(size), padded.codes.split(size), padded.label.split(size), mask.split(size), strict=True
    )
    return _Padded(tuple(parts), len(rows))


def _masked_log_loss(network: nn.Module, padded: _Padded, placement: Placement) -> float:
    network.eval()
    total = torch.zeros((), device=placement.device)
    with torch.inference_mode():
        for values, codes, label, mask in padded.chunks:
            with placement.autocast():
                logits = network(values, codes)
            losses = nn.functional.binary_cross_entropy_with_logits(logits.float(), label, reduction="none")
            total += (losses * mask).sum()
    return float(placement.group.mean(total)) / padded.rows


def _batch_size(wanted: int, rows: int) -> int:
    """The wanted size, halved until an epoch has enough steps: few rows need smaller batches to be learned from."""
    while wanted > SMALLEST_BATCH and wanted * STEPS_PER_EPOCH > rows:
        wanted //= 2
    return max(1, min(wanted, rows))


def _schedule(options: FitOptions, steps_per_epoch: int) -> Tensor:
    """Learning rate of every step, [epochs * steps]."""
    progress = torch.linspace(0, 1, options.epochs * steps_per_epoch)
    if options.schedule == "constant":
        return torch.full_like(progress, options.learning_rate)
    if options.schedule == "cosine":
        return options.learning_rate * (0.505 + 0.495 * torch.cos(math.pi * progress))
    rising = 0.05 + 0.95 * progress / options.warmup
    falling = 0.501 + 0.499 * torch.cos(math.pi * (progress - options.warmup) / (1 - options.warmup))
    return options.learning_rate * torch.where(progress < options.warmup, rising, falling)
