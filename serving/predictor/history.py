"""A unit's history at request time: read off the event loop, within a deadline, never a reason to fail a request."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import pandas as pd

from trimtab.ports import FeatureStore
from trimtab.sessions.spec import DatasetSpec

_log = logging.getLogger("kserve.trimtab")
_RELOG_EVERY = 1_000


class History:
    """Reads history features from the online store.

    One thread does the reading: embedded stores are not made for several, and requests queue in order.

    Args:
        store: The online store.
        spec: Spec of the model's data.
        deadline_seconds: A read that takes longer is given up; the request is answered without history.
    """

    def __init__(self, store: FeatureStore, spec: DatasetSpec, *, deadline_seconds: float) -> None:
        self._store = store
        self._spec = spec
        self._deadline_seconds = deadline_seconds
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="history")
        self.failures = 0

    def warm_up(self) -> None:
        """Open the store, so that the first request does not pay for it."""
        try:
            self._reader.submit(self._store.online, ["a unit that nobody has"], self._spec).result()
        except Exception as error:
            self._failed(error)

    async def of(self, units: Sequence[str], times: Sequence[datetime | None]) -> pd.DataFrame | None:
        """History of units, one row each in order; None where the store did not answer in time.

        Args:
            units: Pseudonyms.
            times: When each request happens; None for now.
        """
        now = datetime.now(UTC)
        at = [moment or now for moment in times]
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._reader, partial(self._store.online, list(units), self._spec, at=at))
        try:
            return await asyncio.wait_for(reading, self._deadline_seconds)
        except Exception as error:
            self._failed(error)
            return None

    def _failed(self, error: Exception) -> None:
        """Say it the first time and then seldom; a store that is away would otherwise flood the log."""
        if self.failures % _RELOG_EVERY == 0:
            _log.warning("no history from the online store, answering without it: %s: %s", type(error).__name__, error)
        self.failures += 1
