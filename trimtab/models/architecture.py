"""What a network looks like, as plain values: read by whatever builds, tunes, saves or serves one."""

from dataclasses import dataclass
from typing import Literal

NetworkKind = Literal["plr_mlp", "linear"]


@dataclass(frozen=True)
class InputShape:
    """What a network is given.

    Attributes:
        numeric: Columns of scores, p.
        flags: Columns of missing flags, m.
        cardinalities: Number of codes of each categorical column.
    """

    numeric: int
    flags: int
    cardinalities: tuple[int, ...]


@dataclass(frozen=True)
class NetworkOptions:
    """Architecture of a network; the linear one ignores all but `kind`.

    Attributes:
        kind: `plr_mlp` or `linear`.
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        dropout: Share of hidden units dropped while training.
        frequencies: Learned frequencies per numeric column.
        frequency_scale: Standard deviation of the initial frequencies: larger fits sharper bends.
        embedding: Numbers that each numeric column becomes.
        category_embedding: Numbers that each category becomes.
    """

    kind: NetworkKind = "plr_mlp"
    width: int = 64
    depth: int = 2
    dropout: float = 0.0
    frequencies: int = 4
    frequency_scale: float = 0.1
    embedding: int = 3
    category_embedding: int = 4
