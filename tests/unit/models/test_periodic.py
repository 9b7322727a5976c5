import math

import pytest
import torch

from trimtab.models.periodic import PeriodicEmbedding, _Waves


def _plain(module: PeriodicEmbedding, scores: torch.Tensor) -> torch.Tensor:
    """The definition, left to autograd."""
    angles = 2 * math.pi * module.frequencies * scores.unsqueeze(-1)
    waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)
    return torch.relu(module.linear(waves)).transpose(1, 2).flatten(1)


def test_it_is_the_papers_definition() -> None:
    module = PeriodicEmbedding(3, frequencies=4, scale=0.3, size=5)
    scores = torch.randn(16, 3)
    torch.testing.assert_close(module(scores), _plain(module, scores))
    assert module(scores).shape == (16, 15)


@pytest.mark.parametrize(("columns", "frequencies"), [(1, 4), (3, 1), (1, 1)])
def test_a_single_column_or_frequency_is_none_but_the_smallest_case(columns: int, frequencies: int) -> None:
    module = PeriodicEmbedding(columns, frequencies=frequencies, scale=0.3, size=5)
    before = module.frequencies.detach().clone()
    for rows in (1, 16):
        scores = torch.randn(rows, columns)
        torch.testing.assert_close(module(scores), _plain(module, scores))
    torch.testing.assert_close(module.frequencies, before)


def test_memory_layout_does_not_matter() -> None:
    module = PeriodicEmbedding(3, frequencies=4, scale=0.3, size=5)
    scores = torch.randn(16, 3)
    torch.testing.assert_close(module(scores.t().contiguous().t()), module(scores))


def test_its_gradient_is_autograds() -> None:
    module = PeriodicEmbedding(3, frequencies=4, scale=0.3, size=5)
    scores, upstream = torch.randn(16, 3), torch.randn(16, 15)
    found = torch.autograd.grad(module(scores), list(module.parameters()), upstream)
    expected = torch.autograd.grad(_plain(module, scores), list(module.parameters()), upstream)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_its_gradient_is_the_numerical_one() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 2, dtype=torch.float64, generator=draw)
    shapes = ((2, 3), (5, 6), (5,))
    arguments = [torch.randn(shape, dtype=torch.float64, generator=draw).requires_grad_() for shape in shapes]
    assert torch.autograd.gradcheck(lambda *weights: _Waves.apply(scores, *weights), arguments)


def test_phases_keep_their_precision_under_autocast() -> None:
    module = PeriodicEmbedding(2, frequencies=4, scale=0.3, size=5)
    scores = torch.randn(8, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(scores), _plain_in_float32(module, scores))


def _plain_in_float32(module: PeriodicEmbedding, scores: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return _plain(module, scores)
