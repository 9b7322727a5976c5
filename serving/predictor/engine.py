"""Answers batches for one model version, whatever protocol they came by: history, model, and what is counted of it."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from serving.predictor.batching import MicroBatches, Model
from serving.predictor.feature_log import FeatureLog
from serving.predictor.history import History
from serving.predictor.metrics import HistorySource, Metrics
from serving.predictor.payload import Batch, RequestReader
from trimtab.models.encode import Codes, Encoder, Floats
from trimtab.models.manifest import Actions
from trimtab.sessions.inputs import DAYS_SINCE_LAST, PRIOR_SESSIONS
from trimtab.sessions.privacy import unit_pseudonym

INLINE_ROWS = 64  # more are computed by a thread, so that the event loop stays free to answer health checks


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says about a batch, [instances] each.

    Attributes:
        actions: Probabilities, uplifts, and whether to act.
        history: Where the history of each instance came from.
    """

    actions: Actions
    history: Sequence[HistorySource]


class Engine:
    """Answers batches.

    Args:
        name: Name of the model in the URL.
        version: Version in the registry.
        model: The model.
        encoder: The model's encoder.
        metrics: What is counted.
        unit: Name of the unit column; None where the data have none.
        timestamp: Name of the timestamp column; None where the data have none.
        key: Secret key of the pseudonyms.
        history: Reads a unit's history; None where the model has no history features, or there is no store.
        stale_days: A unit's history whose last session is older counts as stale.
        feature_log: Keeps a sample of the served values; None for none.
        micro_batching: Run the rows of requests that come at once through the model together.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        model: Model,
        encoder: Encoder,
        metrics: Metrics,
        unit: str | None = None,
        timestamp: str | None = None,
        key: bytes = b"",
        history: History | None = None,
        stale_days: float = 30.0,
        feature_log: FeatureLog | None = None,
        micro_batching: bool = False,
    ) -> None:
        self.name = name
        self.version = version
        self.metrics = metrics
        self.inputs = encoder.inputs
        self.about = tuple(column for column in (unit, timestamp) if column)
        self.reader = RequestReader(encoder, unit=unit, timestamp=timestamp)
        self._encoder = encoder
        self._model = model
        self._batches = MicroBatches(model, most_rows=INLINE_ROWS) if micro_batching else None
        self._key = key
        self._history = history
        self._stale_days = stale_days
        self._feature_log = feature_log
        if encoder.inputs.history:
            self._sessions = encoder.inputs.history.index(PRIOR_SESSIONS)
            self._days = encoder.inputs.history.index(DAYS_SINCE_LAST)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def warm_up(self) -> None:
        """Answer once as a request is answered, with one row and with many, and open the store."""
        nothing: list[object] = [None]
        columns: dict[str, list[object]] = dict.fromkeys(self.inputs.request, nothing)
        batch = self.reader.columns(columns)
        self._model.act_arrays(batch.numeric, batch.codes)
        await self._act(
            np.repeat(batch.numeric, INLINE_ROWS + 1, axis=0), np.repeat(batch.codes, INLINE_ROWS + 1, axis=0)
        )
        if self._history:
            await self._history.warm_up()

    async def answer(self, batch: Batch) -> Answer:
        """Answer a batch; the history of its units is read unless the batch carries it."""
        sources = await self._fill_history(batch)
        self.metrics.sources(sources)
        actions = await self._act(batch.numeric, batch.codes)
        if self._feature_log and self._feature_log.wants():
            self._log(batch, actions, sources)
        return Answer(actions, sources)

    def close(self) -> None:
        """Write what waits to be logged."""
        if self._feature_log:
            self._feature_log.close()

    async def _act(self, numeric: Floats, codes: Codes) -> Actions:
        if len(numeric) <= INLINE_ROWS:
            if self._batches:
                return await self._batches.act(numeric, codes)
            return self._model.act_arrays(numeric, codes)
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._model.act_arrays, numeric, codes)

    async def _fill_history(self, batch: Batch) -> Sequence[HistorySource]:
        """Write the units' histories into the batch; says where each came from."""
        rows = len(batch.units)
        if batch.carries_history:
            return ["request"] * rows
        absent: list[HistorySource] = ["absent"] * rows
        if self._history is None:
            return absent
        known = [row for row, unit in enumerate(batch.units) if unit is not None]
        if not known:
            return absent
        units = [self._pseudonym(str(batch.units[row])) for row in known]
        times: list[datetime | None] = [batch.times[row] for row in known]
        found = await self._history.of(units, times)
        if found is None:
            return absent
        if len(known) == rows:
            self.reader.fill(batch.numeric, found)
        else:
            some = batch.numeric[known]
            self.reader.fill(some, found)
            batch.numeric[known] = some
        self._count_stale(found)
        new = (found[:, self._sessions] == 0).tolist()
        for row, is_new in zip(known, new, strict=True):
            absent[row] = "new" if is_new else "store"
        return absent

    def _count_stale(self, found: npt.NDArray[np.float64]) -> None:
        stale = int(np.count_nonzero(found[:, self._days] > self._stale_days))
        if stale:
            self.metrics.stale(stale)

    def _pseudonym(self, unit: str) -> str:
        """The id under which the store knows a unit."""
        return unit_pseudonym(unit, self._key)

    def _log(self, batch: Batch, actions: Actions, sources: Sequence[HistorySource]) -> None:
        assert self._feature_log
        units = [unit and self._pseudonym(unit) for unit in batch.units]
        self._feature_log.put(batch.numeric, batch.codes, actions, units=units, sources=sources)
