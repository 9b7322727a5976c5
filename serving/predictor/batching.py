"""Dynamic micro-batching: the rows of requests that come in one tick of the event loop go through the model together.

A model's cost for one row is mostly that of calling numpy, which is the same for ten. Under load that is saved; a
request that comes alone pays for waiting until the tick's end. So it is an option.
"""

import asyncio
from typing import Protocol

import numpy as np

from trimtab.models.encode import Codes, Floats
from trimtab.models.manifest import Actions


class Model(Protocol):
    """What decides: a `ConversionModel` or a `LeanModel`."""

    def act_arrays(self, numeric: Floats, codes: Codes) -> Actions:
        """Probabilities, uplifts and actions of encoded rows."""
        ...


class MicroBatches:
    """Runs rows through a model, those of one tick together.

    Args:
        model: The model.
        most_rows: Rows of one batch; what comes beyond starts the next.
    """

    def __init__(self, model: Model, *, most_rows: int) -> None:
        self._model = model
        self._most_rows = most_rows
        self._rows = 0
        self._waiting: list[tuple[Floats, Codes, asyncio.Future[Actions]]] = []

    async def act(self, numeric: Floats, codes: Codes) -> Actions:
        """What the model says about these rows."""
        loop = asyncio.get_running_loop()
        if self._rows + len(numeric) > self._most_rows:
            self._run()
        if not self._waiting:
            loop.call_soon(self._run)
        answer: asyncio.Future[Actions] = loop.create_future()
        self._waiting.append((numeric, codes, answer))
        self._rows += len(numeric)
        return await answer

    def _run(self) -> None:
        """Answer whoever waits; those whose caller has gone are computed and not answered."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if not waiting:
            return
        try:
            numeric, codes = (np.concatenate([one[part] for one in waiting]) for part in (0, 1))
            found = self._model.act_arrays(numeric, codes)
        except Exception as error:
            for _, _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        start = 0
        for rows, _, answer in waiting:
            mine = slice(start, start := start + len(rows))
            if not answer.done():
                answer.set_result(Actions(found.probability[mine], found.uplift[mine], found.act[mine]))
