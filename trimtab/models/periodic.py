"""Periodic numerical embeddings with their own gradient.

The waves are the largest arrays of the whole network, and on a CPU the training step is bound by passing over them.
Autograd would compute every sine and cosine twice (the gradient of one is the other) and negate and copy in between;
written out, the gradient reuses what the forward pass has kept. And the waves are laid out frequency by frequency, each
as one [rows, columns] plane, because loops and products over an inner length of four are slow. The result is the same.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


class PeriodicEmbedding(nn.Module):
    """Numerical embeddings "PLR-lite": periodic, then one linear layer shared by all columns, then ReLU.

    Source: Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning",
    NeurIPS 2022, equation 4, with the shared linear layer of their later code (`lite=True`).

    Args:
        columns: Number of columns, p.
        frequencies: Learned frequencies per column, k.
        scale: Standard deviation of the initial frequencies.
        size: Numbers that each column becomes.

    Shape:
        scores [rows, p] -> [rows, size * p], the first number of every column before the second of any, in float32 also
        under autocast: phases need the precision.
    """

    def __init__(self, columns: int, *, frequencies: int, scale: float, size: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.empty(columns, frequencies))
        nn.init.trunc_normal_(self.frequencies, std=scale, a=-3 * scale, b=3 * scale)
        self.linear = nn.Linear(2 * frequencies, size)

    def forward(self, scores: Tensor) -> Tensor:
        """Embed each column."""
        with torch.autocast(scores.device.type, enabled=False):
            embedded: Tensor = _Waves.apply(scores, self.frequencies, self.linear.weight, self.linear.bias)
        return embedded


class _Waves(torch.autograd.Function):
    """`relu([cos(a), sin(a)] @ weight.T + bias)` with `a = 2 pi * frequencies * scores`; no gradient to the scores."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, frequencies: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        count = frequencies.shape[1]
        by_plane = (frequencies.t() * (2 * math.pi)).contiguous().unsqueeze(1)
        angles = by_plane * scores.contiguous()
        cosines = angles.cos().reshape(count, -1)
        sines = angles.sin_().reshape(count, -1)
        # Plain products and sums: for matrices this thin, accumulating into a product costs four times the product.
        mixed = torch.mm(weight[:, :count], cosines).add_(torch.mm(weight[:, count:], sines))
        mixed.add_(bias.unsqueeze(1)).relu_()
        ctx.save_for_backward(scores, cosines, sines, mixed, weight)
        return mixed.view(-1, *scores.shape).transpose(0, 1).reshape(len(scores), -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        scores, cosines, sines, mixed, weight = ctx.saved_tensors
        count, size = len(cosines), len(mixed)
        planes = gradient.reshape(len(scores), size, -1).transpose(0, 1).reshape(size, -1)
        flowing = torch.ops.aten.threshold_backward(planes, mixed, 0)
        by_angle = torch.mm(weight[:, count:].t(), flowing).mul_(cosines)
        by_angle.addcmul_(torch.mm(weight[:, :count].t(), flowing), sines, value=-1)
        by_frequency = by_angle.view(count, *scores.shape).mul_(scores).sum(1).t() * (2 * math.pi)
        by_weight = torch.cat([flowing @ cosines.t(), flowing @ sines.t()], dim=1)
        return None, by_frequency, by_weight, flowing.sum(1)
