"""Which device to train on, and what each one wants: one place, so that `fit` has no branches of its own.

Gaudi is reached through its PyTorch bridge: importing `habana_frameworks.torch.core` is what makes `hpu` a device.
Eager mode with `torch.compile(backend="hpu_backend")` is its way to speed; lazy mode is switched off explicitly,
before the bridge is imported, because older software starts in it. Implemented from Gaudi's documentation and tested
with a stubbed bridge; not run on hardware.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from trimtab.errors import BadInput
from trimtab.models.distributed import ALONE, Group
from trimtab.types import Device

Requested = Literal["auto", "cpu", "cuda", "hpu"]
ModuleT = TypeVar("ModuleT", bound=nn.Module)

BRIDGE = "habana_frameworks.torch.core"


@dataclass(frozen=True)
class Placement:
    """A device and how to use it.

    Attributes:
        device: Where tensors live.
        half: Type of matrix products under autocast; None computes in float32 (bfloat16 is slower on a CPU).
        compile_backend: Backend of `torch.compile`; empty where compiling does not pay.
        threads: Threads of a fit on the CPU. One: steps this small gain a third from a second core at best, lose
            twentyfold when something else wants that core (the threads wait for each other at every operation), and
            round differently with their number. Other cores are better used by other workers of a study.
        group: The processes that share one fit.
    """

    device: Device
    half: torch.dtype | None = None
    compile_backend: str = ""
    threads: int = 1
    group: Group = ALONE

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Keep torch to `threads` for the block, where the block runs on the CPU."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads if self.device == "cpu" else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def autocast(self) -> AbstractContextManager[Any]:
        """Reduced precision for matrix products, where the device gains by it."""
        if self.half is None:
            return nullcontext()
        context: AbstractContextManager[Any] = torch.autocast(self.device, dtype=self.half)
        return context

    def compiled(self, network: nn.Module) -> nn.Module:
        """The network as the device wants to run it; shares its weights with `network`."""
        if not self.compile_backend:
            return network
        compiled: nn.Module = torch.compile(network, backend=self.compile_backend)  # type: ignore[assignment, unused-ignore]
        return compiled

    def optimizer(self, network: nn.Module, *, learning_rate: torch.Tensor, weight_decay: float) -> torch.optim.AdamW:
        """AdamW in its fastest form; the rate is a tensor on the device, so that changing it starts no recompilation.

        Biases, frequencies and other vectors are not decayed, only matrices of linear layers.
        """
        decayed = [parameter for name, parameter in network.named_parameters() if _is_weight(name, parameter)]
        others = [parameter for name, parameter in network.named_parameters() if not _is_weight(name, parameter)]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        how = {"capturable": True} if self.device == "hpu" else {"fused": True}
        return torch.optim.AdamW([group for group in groups if group["params"]], lr=learning_rate, **how)


def place(requested: Requested = "auto", *, recipe_cache: Path | None = None) -> Placement:
    """Choose the device.

    Args:
        requested: A device, or `auto` for the best one present: Gaudi, then CUDA, then the CPU.
        recipe_cache: Folder in which Gaudi keeps compiled recipes, to be shared by the trials of a study.

    Raises:
        BadInput: The device that was asked for is not present.
    """
    if requested in ("auto", "hpu") and gaudi_available(recipe_cache=recipe_cache):
        return Placement("hpu", half=torch.bfloat16, compile_backend="hpu_backend")
    if requested in ("auto", "cuda") and torch.cuda.is_available():
        return Placement("cuda", half=torch.bfloat16 if torch.cuda.is_bf16_supported() else None)
    if requested in ("auto", "cpu"):
        return Placement("cpu")
    raise BadInput(
        f"device '{requested}' is not present on this machine.",
        remedy="Use --device auto, or run where the accelerator and its driver (for hpu, Gaudi's PyTorch) are.",
    )


def gaudi_available(*, recipe_cache: Path | None = None) -> bool:
    """Whether Gaudi's bridge is installed and sees a card."""
    os.environ["PT_HPU_LAZY_MODE"] = "0"
    if recipe_cache is not None:
        # path, whether to empty it at the start, and its size in MB
        os.environ.setdefault("PT_HPU_RECIPE_CACHE_CONFIG", f"{recipe_cache},False,1024")
    try:
        importlib.import_module(BRIDGE)
    except ImportError:
        return False
    hpu = getattr(torch, "hpu", None)
    return hpu is not None and bool(hpu.is_available())


def _is_weight(name: str, parameter: torch.Tensor) -> bool:
    return parameter.ndim > 1 and name.endswith("weight")
