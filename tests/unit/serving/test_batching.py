import asyncio
from typing import Any

import numpy as np
import pytest

from serving.predictor.batching import MicroBatches
from tests.unit.serving.conftest import MakeEngine
from trimtab.models.bundle import ConversionModel
from trimtab.models.encode import Codes, Floats
from trimtab.models.manifest import Actions


class Counting:
    """A model that remembers how many rows it was asked about; it fails where a number is negative."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def act_arrays(self, numeric: Floats, codes: Codes) -> Actions:
        self.calls.append(len(numeric))
        if (numeric < 0).any():
            raise ValueError("negative")
        return Actions(numeric[:, 0].astype(float), codes[:, 0].astype(float), numeric[:, 0] > 1)


def _rows(*values: float) -> tuple[Floats, Codes]:
    return np.array(values, dtype=np.float32)[:, None], np.array(values, dtype=np.int64)[:, None]


async def _at_once(batches: MicroBatches, *requests: tuple[Floats, Codes]) -> list[Any]:
    return await asyncio.gather(*(batches.act(*request) for request in requests), return_exceptions=True)


def test_requests_of_one_tick_are_one_batch_and_each_gets_its_own() -> None:
    model = Counting()
    answers = asyncio.run(_at_once(MicroBatches(model, most_rows=64), _rows(1, 2), _rows(3), _rows(4, 5, 6)))
    assert model.calls == [6]
    assert [answer.probability.tolist() for answer in answers] == [[1, 2], [3], [4, 5, 6]]
    assert [answer.act.tolist() for answer in answers] == [[False, True], [True], [True] * 3]


def test_a_batch_has_a_bound() -> None:
    model = Counting()
    answers = asyncio.run(_at_once(MicroBatches(model, most_rows=3), _rows(1, 2), _rows(3), _rows(4, 5), _rows(6)))
    assert model.calls == [3, 3]
    assert [answer.probability.tolist() for answer in answers] == [[1, 2], [3], [4, 5], [6]]


def test_a_failure_reaches_all_of_its_batch_and_no_later_one() -> None:
    batches = MicroBatches(Counting(), most_rows=64)
    assert [type(answer) for answer in asyncio.run(_at_once(batches, _rows(1), _rows(-1)))] == [ValueError] * 2
    (later,) = asyncio.run(_at_once(batches, _rows(7)))
    assert later.probability.tolist() == [7]


@pytest.mark.parametrize("rows", [1, 100])
def test_an_engine_answers_alike_with_it(rows: int, make_engine: MakeEngine, model: ConversionModel) -> None:
    engine = make_engine(micro_batching=True)
    instances = [{"lcp_ms": 100.0 * row, "api_ms": None, "device": "mobile"} for row in range(rows)]

    async def ask() -> list[Any]:
        batch = engine.reader.instances({"instances": instances})
        return await asyncio.gather(*(engine.answer(batch) for _ in range(3)))

    expected = model.act_arrays(*model.encode_rows(instances))
    for answer in asyncio.run(ask()):
        np.testing.assert_allclose(answer.actions.probability, expected.probability, atol=1e-6)
