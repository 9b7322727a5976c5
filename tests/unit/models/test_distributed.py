"""Two processes on loopback train what one trains."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trimtab.models.distributed import ALONE, Group, joined

# One process of a fit; prints its losses and a digest of its weights.
WORKER = """
import hashlib, json, sys, warnings
from dataclasses import replace
import numpy as np
import torch
from trimtab.models.devices import place
from trimtab.models.distributed import joined
from trimtab.models.fit import FitOptions, Rows, fit

rows = int(sys.argv[1])
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(3)
values = torch.randn(rows + 200, 4, generator=generator)
chance = torch.sigmoid(values @ torch.tensor([1.0, -2.0, 0.5, 0.0]))
label = (torch.rand(rows + 200, generator=generator) < chance).float()
codes = torch.zeros(rows + 200, 0, dtype=torch.int64)

class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 1)
        torch.nn.init.zeros_(self.linear.weight)

    def forward(self, values, codes):
        return self.linear(values).squeeze(1)

network = Linear()
torch.nn.init.zeros_(network.linear.bias)
train, validation = (Rows(values[s], codes[s], label[s]) for s in (slice(0, rows), slice(rows, None)))
options = FitOptions(epochs=12, learning_rate=0.05, patience=12)
with joined("cpu") as group:
    placement = replace(place("cpu"), group=group)
    done = fit(network, train, validation, options=options, placement=placement, rng=np.random.default_rng(5))
weights = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
told = {"log_loss": done.log_loss, "curve": done.train_curve, "weights": hashlib.sha256(weights).hexdigest()}
print(json.dumps(told))
"""


def _fits(rows: int, *, processes: int, tmp_path: Path) -> list[dict[str, object]]:
    """What each process of one fit found."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script), str(rows)],
            env={**os.environ, **place, "RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        told = [process.communicate(timeout=200)[0] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [json.loads(text.splitlines()[-1]) for text in told]


@pytest.mark.slow
def test_two_processes_take_the_steps_that_one_takes(tmp_path: Path) -> None:
    """Where a step sees all rows, the mean of two halves' gradients is the gradient of the whole."""
    (alone,) = _fits(32, processes=1, tmp_path=tmp_path)
    together = _fits(32, processes=2, tmp_path=tmp_path)
    assert together[0] == together[1]
    assert together[0]["curve"] == pytest.approx(alone["curve"], abs=1e-5)
    assert together[0]["log_loss"] == pytest.approx(alone["log_loss"], abs=1e-5)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """Where steps see other rows, the losses agree to what the order of rows does to them."""
    (alone,) = _fits(6_001, processes=1, tmp_path=tmp_path)
    together = _fits(6_001, processes=2, tmp_path=tmp_path)
    assert together[0] == together[1]
    assert together[0]["log_loss"] == pytest.approx(alone["log_loss"], abs=0.005)


def test_shares_are_equal_and_apart() -> None:
    shares = [Group(rank, 3).share(11).tolist() for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_a_process_alone_is_a_group_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as group:
        assert group is ALONE
    assert group.mean(torch.tensor(3.0)) == 3.0
