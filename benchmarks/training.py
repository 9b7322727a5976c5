"""Training: `trimtab.models.fit` against the loop that a tutorial would have one write, in one run.

    python -m benchmarks.training [ROWS [EPOCHS]]

Both sides train the same networks on the same preprocessed rows for the same epochs with the same batch size, AdamW and
learning rate, and look at the same validation rows after each epoch. The tutorial's side is a `TensorDataset` behind a
shuffling `DataLoader`, with the loss read back after every step, and the periodic embedding as its paper writes it,
left to autograd. Both run on one thread and are timed in CPU seconds, so that what else the machine does hurts neither.
Two networks are timed: the larger a network, the less of its time a loop can save.
"""

import copy
import math
import sys
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from trimtab.models.architecture import InputShape, NetworkOptions
from trimtab.models.devices import place
from trimtab.models.fit import FitOptions, Rows, fit, seeded
from trimtab.models.networks import PlrMlp
from trimtab.models.periodic import PeriodicEmbedding

KPIS, CARDINALITIES = 45, (4, 6, 10)
VALIDATION_ROWS = 8_192
REPEATS = 3


class Mlp(nn.Module):
    """The plain network of the same width, without periodic embeddings."""

    def __init__(self, shape: InputShape, *, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(shape.numeric + len(shape.cardinalities), width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 1),
        )

    def forward(self, values: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.layers(torch.cat([values, codes.float()], dim=1)).squeeze(-1))


class TextbookEmbedding(PeriodicEmbedding):
    """The periodic embedding as its paper writes it: joined waves, one linear layer, gradients by autograd."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        angles = 2 * math.pi * self.frequencies * scores.unsqueeze(-1)
        waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)
        return torch.relu(self.linear(waves)).flatten(1)


def textbook(network: PlrMlp) -> PlrMlp:
    """A copy with the same weights."""
    other = copy.deepcopy(network)
    other.periodic.__class__ = TextbookEmbedding
    return other


def main(rows: int = 80_000, epochs: int = 3) -> list[dict[str, Any]]:
    train, validation = _rows(rows, seed=0), _rows(VALIDATION_ROWS, seed=1)
    shape = InputShape(KPIS, 0, CARDINALITIES)
    options = FitOptions(epochs=epochs, patience=epochs, batch_size=1024, averaging=0.0, schedule="constant")
    mlp, plr = Mlp(shape), PlrMlp(shape, NetworkOptions())
    results = []
    for name, network, same in (("MLP", mlp, mlp), ("PLR-lite MLP", plr, textbook(plr))):
        ours, theirs = [], []
        for _ in range(REPEATS):
            ours.append(_ours(copy.deepcopy(network), train, validation, options))
            theirs.append(_theirs(copy.deepcopy(same), train, validation, options))
        results.append(_result(f"Training {name}, {rows:,} rows x {KPIS} KPIs", min(ours), min(theirs), epochs))
    for row in results:
        print(f"{row['name']}: {row['ours']} {row['unit']} against {row['theirs']}, {row['ratio']}x")
    return results


def _ours(network: nn.Module, train: Rows, validation: Rows, options: FitOptions) -> float:
    started = time.process_time()
    fit(network, train, validation, options=options, placement=place("cpu"), rng=np.random.default_rng(0))
    return time.process_time() - started


def _theirs(network: nn.Module, train: Rows, validation: Rows, options: FitOptions) -> float:
    with seeded(np.random.default_rng(0)), place("cpu").limited():
        started = time.process_time()
        batches = DataLoader(
            TensorDataset(train.values, train.codes, train.label),
            batch_size=options.batch_size,
            shuffle=True,
            drop_last=True,
        )
        held_out = DataLoader(
            TensorDataset(validation.values, validation.codes, validation.label), batch_size=options.batch_size
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay)
        criterion = nn.BCEWithLogitsLoss()
        for _ in range(options.epochs):
            network.train()
            seen = 0.0
            for values, codes, label in batches:
                optimizer.zero_grad()
                loss = criterion(network(values, codes), label)
                loss.backward()
                optimizer.step()
                seen += loss.item()
            network.eval()
            with torch.no_grad():
                for values, codes, label in held_out:
                    seen += criterion(network(values, codes), label).item()
        return time.process_time() - started


def _rows(count: int, *, seed: int) -> Rows:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, KPIS)).astype(np.float32)
    codes = np.column_stack([rng.integers(0, size, count) for size in CARDINALITIES])
    label = (rng.random(count) < 1 / (1 + np.exp(2 - values[:, 0] + np.abs(values[:, 1])))).astype(np.float32)
    return Rows(torch.from_numpy(values), torch.from_numpy(codes), torch.from_numpy(label))


def _result(name: str, ours: float, theirs: float, epochs: int) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours / epochs, 4),
        "theirs": round(theirs / epochs, 4),
        "theirs_is": "a DataLoader loop over the same network",
        "unit": "CPU s/epoch",
        "ratio": round(theirs / ours, 2),
    }


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
