import pytest
import torch

from trimtab.models.architecture import InputShape, NetworkKind, NetworkOptions
from trimtab.models.networks import build_network

SHAPE = InputShape(numeric=3, flags=1, cardinalities=(4, 2))


def _inputs(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 4), torch.stack([torch.arange(rows) % 4, torch.arange(rows) % 2], dim=1)


@pytest.mark.parametrize("kind", ["plr_mlp", "linear"])
def test_one_logit_per_row_from_every_input(kind: NetworkKind) -> None:
    network = build_network(SHAPE, NetworkOptions(kind=kind)).eval()
    values, codes = _inputs(8)
    logits = network(values, codes)
    assert logits.shape == (8,)
    assert logits.dtype == torch.float32
    for column in range(4):
        moved = values.clone()
        moved[:, column] += 1
        assert not torch.allclose(network(moved, codes), logits)
    for column in range(2):
        other = codes.clone()
        other[:, column] = (codes[:, column] + 1) % SHAPE.cardinalities[column]
        assert not torch.allclose(network(values, other), logits)


def test_no_categories_and_no_flags_are_fine() -> None:
    shape = InputShape(numeric=2, flags=0, cardinalities=())
    kinds: tuple[NetworkKind, ...] = ("plr_mlp", "linear")
    for kind in kinds:
        network = build_network(shape, NetworkOptions(kind=kind))
        assert network(torch.randn(3, 2), torch.zeros(3, 0, dtype=torch.int64)).shape == (3,)


def test_logits_are_float32_under_autocast() -> None:
    network = build_network(SHAPE, NetworkOptions())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(*_inputs(4)).dtype == torch.float32
