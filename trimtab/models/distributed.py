"""One fit by several processes, each with its share of the rows: for sets that outgrow a card.

torchrun, which Kubeflow Trainer starts, tells each process its place in environment variables. All processes draw the
same random numbers, so they begin with equal weights; each step they average their gradients, so weights stay equal,
and so does every decision that is made from an averaged number. A process that was started alone is a group of one,
for which nothing here does anything.
"""

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from trimtab.types import Device

# How the processes of each device talk. Gaudi's comes with its bridge.
BACKENDS: dict[Device, str] = {"cpu": "gloo", "cuda": "nccl", "hpu": "hccl"}
GAUDI_COLLECTIVES = "habana_frameworks.torch.distributed.hccl"
_PATIENCE = timedelta(minutes=10)  # until a process that waits for a lost one gives up


@dataclass(frozen=True)
class Group:
    """A process among those of one fit.

    Attributes:
        rank: Its number, from 0; the first one leads.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    def share(self, rows: int) -> Tensor:
        """Which of so many rows are this process's. Shares are equally large: up to `size - 1` rows are nobody's."""
        return torch.arange(self.rank, rows - rows % self.size, self.size)

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give each parameter the mean of its gradients over the processes."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes."""
        if self.size > 1:
            distributed.all_reduce(value)
            value /= self.size
        return value


ALONE = Group()


def is_follower() -> bool:
    """Whether another process leads the fit that this one was started for."""
    return int(os.environ.get("RANK", "0")) > 0


@contextmanager
def joined(device: Device) -> Iterator[Group]:
    """The group that this process was started in, for the block.

    Args:
        device: What each process computes on; one card each.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device == "hpu":
        importlib.import_module(GAUDI_COLLECTIVES)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group(BACKENDS[device], timeout=_PATIENCE)
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
