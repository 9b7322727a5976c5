"""The networks: a small MLP over periodic numerical embeddings, and a linear one that carries a logistic regression.

Both take preprocessed values and category codes and return one logit per row, so that fitting, calibration, saving and
serving know only one interface.
"""

import math

import torch
from torch import Tensor, nn

from trimtab.models.architecture import InputShape, NetworkOptions
from trimtab.models.periodic import PeriodicEmbedding


class Categories(nn.Module):
    """Embeddings of all categorical columns in one table.

    Shape:
        codes [rows, c] -> [rows, c * size].
    """

    offsets: Tensor

    def __init__(self, cardinalities: tuple[int, ...], size: int) -> None:
        super().__init__()
        starts = torch.tensor([0, *cardinalities], dtype=torch.int64).cumsum(0)
        self.register_buffer("offsets", starts[:-1], persistent=False)
        self.table = nn.Parameter(torch.empty(int(starts[-1]), size))
        nn.init.normal_(self.table, std=1 / math.sqrt(size))

    def forward(self, codes: Tensor) -> Tensor:
        """Look the codes up."""
        return nn.functional.embedding(codes + self.offsets, self.table).flatten(1)


class PlrMlp(nn.Module):
    """MLP over periodic embeddings, the scores themselves, missing flags and category embeddings."""

    def __init__(self, shape: InputShape, options: NetworkOptions) -> None:
        super().__init__()
        self.columns = shape.numeric
        self.periodic = PeriodicEmbedding(
            shape.numeric, frequencies=options.frequencies, scale=options.frequency_scale, size=options.embedding
        )
        self.categories = Categories(shape.cardinalities, options.category_embedding)
        size = shape.numeric * (options.embedding + 1) + shape.flags
        size += len(shape.cardinalities) * options.category_embedding
        layers: list[nn.Module] = []
        for _ in range(options.depth):
            layers += [nn.Linear(size, options.width), nn.SiLU()]
            layers += [nn.Dropout(options.dropout)] if options.dropout else []
            size = options.width
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(size, 1)

    def forward(self, values: Tensor, codes: Tensor) -> Tensor:
        """Logits, [rows], in float32."""
        parts = [self.periodic(values[:, : self.columns]), values, self.categories(codes)]
        hidden: Tensor = self.hidden(torch.cat(parts, dim=1))
        with torch.autocast(hidden.device.type, enabled=False):
            return torch.as_tensor(self.head(hidden.float()).squeeze(-1))


class Linear(nn.Module):
    """Logit-linear in scores, flags and categories: the form of a logistic regression."""

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.head = nn.Linear(shape.numeric + shape.flags, 1)
        self.categories = Categories(shape.cardinalities, 1)

    def forward(self, values: Tensor, codes: Tensor) -> Tensor:
        """Logits, [rows]."""
        return torch.as_tensor(self.head(values).squeeze(-1) + self.categories(codes).sum(dim=1))


def build_network(shape: InputShape, options: NetworkOptions) -> nn.Module:
    """A network with fresh weights, drawn from torch's current state (see `fit.seeded`)."""
    if options.kind == "linear":
        return Linear(shape)
    return PlrMlp(shape, options)
