"""Periodic numerical embeddings with their own gradient.

The waves are the largest arrays of the whole network, and on a CPU the training step is bound by passing over them.
Autograd would compute every sine and cosine twice (the gradient of one is the other) and negate and copy in between;
written out, the gradient reuses what the forward pass has kept. The result is the same; a step takes a fifth less.
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
        scores [rows, p] -> [rows, p * size], in float32 also under autocast: phases need the precision.
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
        angles = scores.unsqueeze(-1) * (frequencies * (2 * math.pi))
        cosines = angles.cos().reshape(-1, count)
        sines = angles.sin_().reshape(-1, count)
        # Plain products and sums: for matrices this thin, accumulating into a product costs four times the product.
        mixed = torch.mm(cosines, weight[:, :count].t()).add_(torch.mm(sines, weight[:, count:].t()))
        mixed.add_(bias).relu_()
        ctx.save_for_backward(scores, cosines, sines, mixed, weight)
        return mixed.view(len(scores), -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        scores, cosines, sines, mixed, weight = ctx.saved_tensors
        count = cosines.shape[1]
        flowing = torch.ops.aten.threshold_backward(gradient.reshape(mixed.shape), mixed, 0)
        by_angle = (flowing @ weight[:, count:]).mul_(cosines)
        by_angle.addcmul_(flowing @ weight[:, :count], sines, value=-1)
        by_frequency = by_angle.view(*scores.shape, count).mul_(scores.unsqueeze(-1)).sum(0) * (2 * math.pi)
        by_weight = torch.cat([flowing.t() @ cosines, flowing.t() @ sines], dim=1)
        return None, by_frequency, by_weight, flowing.sum(0)
