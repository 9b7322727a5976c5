"""What was served, as JSON lines: a sample of the values that the model was given, and what it said.

Written by a thread of its own through a bounded queue. What finds the queue full is dropped and counted: a disk that is
slow must not slow answers down. Units appear under their pseudonyms.
"""

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson

from serving.predictor.metrics import Metrics
from trimtab.errors import BadInput
from trimtab.models.encode import MISSING, Codes, Encoder, Floats
from trimtab.models.manifest import Actions

_log = logging.getLogger("kserve.trimtab")
_WAITING = 1_000  # requests
_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Served:
    at: datetime
    numeric: Floats
    codes: Codes
    actions: Actions
    units: Sequence[str | None]
    sources: Sequence[str]


class FeatureLog:
    """Appends a sample of the served values to a file; several processes may share it.

    Args:
        path: The file; made where it is absent.
        model: Name of the model.
        version: Version in the registry.
        encoder: Names the columns.
        share: Share of the requests to keep, from 0 to 1.
        rng: Which requests are kept.
        metrics: Counts what is dropped.
        now: The clock.

    Raises:
        BadInput: The file cannot be written, or the share is out of its bounds.
    """

    def __init__(
        self,
        path: Path,
        *,
        model: str,
        version: int,
        encoder: Encoder,
        share: float,
        rng: np.random.Generator,
        metrics: Metrics,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not 0 <= share <= 1:
            raise BadInput(f"the share of logged requests is {share}, not between 0 and 1.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        except OSError as error:
            raise BadInput(f"the feature log '{path}' cannot be written: {error.strerror}.") from error
        self._about = {"model": model, "version": version}
        self._numeric = encoder.inputs.numeric
        self._categories = {name: (MISSING, *known) for name, known in encoder.vocabularies.items()}
        self._categorical = encoder.inputs.categorical
        self._share = share
        self._rng = rng
        self._metrics = metrics
        self._now = now
        self._queue: queue.Queue[_Served | None] = queue.Queue(_WAITING)
        self._failing = False
        self._writer = threading.Thread(target=self._write, name="feature-log", daemon=True)
        self._writer.start()

    def wants(self) -> bool:
        """Whether the next request belongs to the sample."""
        return self._rng.random() < self._share

    def put(
        self,
        numeric: Floats,
        codes: Codes,
        actions: Actions,
        *,
        units: Sequence[str | None],
        sources: Sequence[str],
    ) -> None:
        """Keep what was served; never waits.

        Args:
            numeric: Encoded numbers, [rows, p].
            codes: Encoded categories, [rows, c].
            actions: What the model said.
            units: Pseudonym of each row; None where it has no unit.
            sources: Where each row's history came from.
        """
        try:
            self._queue.put_nowait(_Served(self._now(), numeric, codes, actions, units, sources))
        except queue.Full:
            self._metrics.unlogged()

    def close(self) -> None:
        """Write what waits, and close the file; a disk that takes too long for that is not waited for."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=_CLOSE_SECONDS)
        self._writer.join(_CLOSE_SECONDS)
        if not self._writer.is_alive():
            os.close(self._file)

    def _write(self) -> None:
        while (served := self._queue.get()) is not None:
            try:
                os.write(self._file, self._lines(served))  # one write: lines of several processes do not mix
                self._failing = False
            except OSError as error:
                self._metrics.unlogged()
                if not self._failing:
                    _log.warning("the feature log cannot be written: %s", error)
                self._failing = True

    def _lines(self, served: _Served) -> bytes:
        lines = []
        for row, (unit, source) in enumerate(zip(served.units, served.sources, strict=True)):
            numbers = served.numeric[row, : len(self._numeric)].tolist()
            features: dict[str, object] = dict(zip(self._numeric, numbers, strict=True))
            for name, code in zip(self._categorical, served.codes[row].tolist(), strict=True):
                features[name] = self._categories[name][code] or None
            record = {
                "at": served.at,
                **self._about,
                "unit": unit,
                "history": source,
                "probability": float(served.actions.probability[row]),
                "uplift": float(served.actions.uplift[row]),
                "act": bool(served.actions.act[row]),
                "features": features,
            }
            lines.append(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        return b"".join(lines)
