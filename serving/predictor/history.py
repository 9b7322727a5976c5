"""A unit's history at request time: off the event loop, within a deadline, never a reason to fail a request.

Requests that arrive while a read is under way wait together for the next one: a read costs the same for one unit as for
ten, so that a busy server reads more at once rather than more often.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pandas as pd

from serving.predictor.metrics import Metrics
from trimtab.errors import NotFound
from trimtab.ports import FeatureStore
from trimtab.sessions.inputs import history_features
from trimtab.sessions.spec import DatasetSpec

_log = logging.getLogger("kserve.trimtab")
_RELOG_EVERY = 1_000
_ROWS_PER_DEADLINE = 10  # a larger batch is given proportionally more time
_ROWS_PER_READ = 2_000
_NOBODY = "a unit that nobody has"


@dataclass(frozen=True, slots=True)
class _Waiting:
    units: Sequence[str]
    times: Sequence[datetime]
    answer: "asyncio.Future[np.ndarray]"


class History:
    """Reads history features from the online store by the service of a model version.

    Args:
        store: The online store.
        spec: Spec of the model's data.
        version: The model version, whose own service is read; where it has none, the spec's.
        deadline_seconds: A read of up to ten units that takes longer is given up; the request is answered without.
        metrics: Counts reads.
        blocking: Whether the store's reads block, as those of an embedded store do; then one thread reads.
    """

    def __init__(
        self,
        store: FeatureStore,
        spec: DatasetSpec,
        *,
        version: int | None,
        deadline_seconds: float,
        metrics: Metrics,
        blocking: bool = True,
    ) -> None:
        self._store = store
        self._spec = spec
        self._version = version
        self._names = list(history_features(spec))
        self._deadline_seconds = deadline_seconds
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history") if blocking else None
        self._queue: list[_Waiting] = []
        self._reading: asyncio.Task[None] | None = None
        self._failures = 0

    async def warm_up(self) -> None:
        """Open the store and find the service, so that the first request does not pay for it."""
        try:
            await self._read([_NOBODY], [datetime.now(UTC)])
        except Exception as error:
            self._failed(error)

    async def of(self, units: Sequence[str], times: Sequence[datetime | None]) -> np.ndarray | None:
        """History of units, [units, features], NaN where missing; None where the store did not answer in time.

        Args:
            units: Pseudonyms.
            times: When each request happens; None for now.
        """
        loop = asyncio.get_running_loop()
        now = datetime.now(UTC)
        answer: asyncio.Future[np.ndarray] = loop.create_future()
        self._queue.append(_Waiting(units, [moment or now for moment in times], answer))
        if self._reading is None:
            self._reading = loop.create_task(self._drain())
        seconds = self._deadline_seconds * max(1.0, len(units) / _ROWS_PER_DEADLINE)
        timer = loop.call_later(seconds, _give_up, answer)
        began = time.perf_counter()
        try:
            found = await answer
        except Exception as error:
            self._failed(error)
            return None
        finally:
            timer.cancel()
        self._metrics.read(time.perf_counter() - began)
        return found

    async def _drain(self) -> None:
        """Read for whoever waits until nobody does."""
        try:
            while batch := self._next():
                units = [unit for waiting in batch for unit in waiting.units]
                times = [moment for waiting in batch for moment in waiting.times]
                try:
                    found = await self._read(units, times)
                except Exception as error:
                    for waiting in batch:
                        if not waiting.answer.done():
                            waiting.answer.set_exception(error)
                    continue
                start = 0
                for waiting in batch:
                    end = start + len(waiting.units)
                    if not waiting.answer.done():
                        waiting.answer.set_result(found[start:end])
                    start = end
        finally:
            self._reading = None

    def _next(self) -> list[_Waiting]:
        """Those who still wait, up to the rows of one read and at least one; the others have been answered without."""
        waiting = [one for one in self._queue if not one.answer.done()]
        rows, taken = 0, 0
        for one in waiting:
            if taken and rows + len(one.units) > _ROWS_PER_READ:
                break
            rows, taken = rows + len(one.units), taken + 1
        self._queue = waiting[taken:]
        return waiting[:taken]

    async def _read(self, units: Sequence[str], times: Sequence[datetime]) -> np.ndarray:
        try:
            frame = await self._ask(units, times)
        except NotFound as error:
            if self._version is None:
                raise
            _log.warning(
                "version %s has no feature service of its own, reading by the spec's: %s", self._version, error
            )
            self._version = None
            frame = await self._ask(units, times)
        found: np.ndarray = frame[self._names].to_numpy(dtype=np.float64)
        return found

    async def _ask(self, units: Sequence[str], times: Sequence[datetime]) -> pd.DataFrame:
        if self._thread is None:
            return await self._store.online_async(units, self._spec, at=times, version=self._version)
        ask = partial(self._store.online, list(units), self._spec, at=times, version=self._version)
        return await asyncio.get_running_loop().run_in_executor(self._thread, ask)

    def _failed(self, error: Exception) -> None:
        """Say it the first time and then seldom; a store that is away would otherwise flood the log."""
        self._metrics.read_failed(timed_out=isinstance(error, TimeoutError))
        if self._failures % _RELOG_EVERY == 0:
            _log.warning("no history from the online store, answering without it: %s: %s", type(error).__name__, error)
        self._failures += 1


def _give_up(answer: "asyncio.Future[np.ndarray]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("the deadline of the features has passed"))
