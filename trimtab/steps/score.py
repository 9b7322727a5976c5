"""Answer for many sessions at once: what a server would say about each, written to Parquet.

Rows are read, judged, joined with their unit's history and answered in batches, so that memory does not grow with the
data. Nothing appears under its final name before all of it is written.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from trimtab.errors import BadInput, NotFound
from trimtab.models.lean import LeanModel
from trimtab.models.manifest import Actions
from trimtab.ports import Ports
from trimtab.sessions.batches import Batches, read_batches
from trimtab.sessions.privacy import is_pseudonym, load_key, pseudonymise
from trimtab.sessions.spec import DatasetSpec, load_spec
from trimtab.sessions.validation.rows import Rows, bad_lines, judge_rows, require_inputs
from trimtab.types import ModelVersion

STAGE = "score"
SCORES, REJECTED = "scores.parquet", "rejected.csv"
HistorySource = Literal["store", "absent"]
_SPEC = "spec.yaml"


@dataclass(frozen=True, slots=True)
class Config:
    """What to score by which model.

    Attributes:
        data: A Parquet or CSV file, or a folder of Parquet files.
        model: Name of a registered model.
        reference: Alias or number of its version.
        out: Folder for `scores.parquet`, and `rejected.csv` where rows were rejected.
        spec: What the columns mean: a spec file or the name of a shipped one; the spec that the model was trained by
            where empty.
        with_history: Whether to join each unit's history from the feature store, where the model knows one; without,
            every unit is answered as one that was never seen.
    """

    data: str
    model: str
    out: str
    reference: str = "champion"
    spec: str = ""
    with_history: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """What was scored.

    Attributes:
        model: Name of the model.
        version: The version that answered.
        read: Rows read: scored plus rejected.
        rows: Rows scored.
        rejected: Rows rejected.
        acts: Scored rows where the model says to act.
        mean_probability: Mean probability to convert without the action.
        history: Where the history came from: the feature store, or nowhere.
        scores: The Parquet file.
        quarantine: CSV of the rejected rows with their reasons; empty where none were.
    """

    model: str
    version: int
    read: int
    rows: int
    rejected: int
    acts: int
    mean_probability: float
    history: HistorySource
    scores: str
    quarantine: str


def run(config: Config, ports: Ports) -> Result:
    """Score a data set.

    Raises:
        NotFound: There is no such version, or the feature store knows no history of its data.
        BadInput: The data cannot be read, lack a column, or more of their rows are bad than the spec allows; then the
            quarantine file is there.
    """
    version = ports.registry.resolve(config.model, config.reference)
    scorer = _scorer(config, ports, version)
    batches = read_batches(config.data, scorer.spec.format)
    names = scorer.columns(batches)
    out = Path(config.out)
    with _parts(out) as (scores, rejected):
        counts = _score(scorer, batches, names, scores, rejected)
        read = counts.rows + counts.rejected
        quarantine = out / REJECTED
        if counts.rejected:
            rejected.replace(quarantine)
        if counts.rejected > scorer.spec.quality.max_rejected_share * read:
            raise _too_many(config, counts.rejected, read, scorer.spec, quarantine)
        scores.replace(out / SCORES)
        if not counts.rejected:
            quarantine.unlink(missing_ok=True)  # that of earlier data: it must not mislead
    return Result(
        model=version.name,
        version=version.version,
        read=read,
        rows=counts.rows,
        rejected=counts.rejected,
        acts=counts.acts,
        mean_probability=counts.probability / counts.rows if counts.rows else 0.0,
        history="store" if scorer.joins(names) else "absent",
        scores=str(out / SCORES),
        quarantine=str(quarantine) if counts.rejected else "",
    )


@dataclass(frozen=True, slots=True)
class _Scorer:
    """A version, ready to answer batches."""

    version: ModelVersion
    model: LeanModel
    spec: DatasetSpec
    ports: Ports
    key: bytes
    with_history: bool

    def columns(self, batches: Batches) -> tuple[str, ...]:
        """Columns to read: the model's inputs, and the unit and time where the data have them."""
        inputs = self.model.manifest.encoder.inputs
        require_inputs(self.spec.columns, inputs.request, f"spec '{self.spec.name}'")
        require_inputs(batches.columns, inputs.request, f"'{batches.source}'")
        about = (self.spec.unit, self.spec.timestamp if self.with_history and inputs.history else None)
        return (*inputs.request, *(name for name in about if name and name in batches.columns))

    def joins(self, names: tuple[str, ...]) -> bool:
        """Whether rows with these columns get a history."""
        inputs = self.model.manifest.encoder.inputs
        return self.with_history and bool(inputs.history) and {self.spec.unit, self.spec.timestamp} <= {*names}

    def answers(self, rows: Rows) -> tuple[pd.DataFrame, Actions]:
        """The rows as the model saw them, units as pseudonyms, and what it says about them."""
        frame, inputs = rows.frame, self.model.manifest.encoder.inputs
        unit = self.spec.unit
        if unit and unit in frame:
            frame = frame.assign(**{unit: _pseudonyms(frame[unit], self.key)})
        if self.joins(tuple(frame.columns)) and len(frame):
            frame = self.ports.features.training_frame(frame, self.spec)
        numeric, codes = self.model.manifest.encoder.encode(frame, treatment=0 if inputs.treatment else None)
        return frame, self.model.act_arrays(numeric, codes)


@dataclass(slots=True)
class _Counts:
    """What was written so far."""

    rows: int = 0
    rejected: int = 0
    acts: int = 0
    probability: float = 0.0


def _scorer(config: Config, ports: Ports, version: ModelVersion) -> _Scorer:
    bundle = ports.registry.download(version)
    model = LeanModel.load(bundle)
    spec = _spec(config, model, bundle, ports)
    return _Scorer(version, model, spec, ports, load_key(ports.home), config.with_history)


def _spec(config: Config, model: LeanModel, bundle: Path, ports: Ports) -> DatasetSpec:
    if config.spec:
        return load_spec(config.spec)
    snapshot = model.manifest.notes.get("snapshot", "")
    places = (bundle / _SPEC, *((ports.snapshots.folder(snapshot) / _SPEC,) if snapshot else ()))
    place = next((place for place in places if place.is_file()), None)
    if place is None:
        raise NotFound(
            f"the spec that model '{config.model}' was trained by was not found.", remedy="Name the spec yourself."
        )
    return load_spec(str(place))


def _score(scorer: _Scorer, batches: Batches, names: tuple[str, ...], scores: Path, rejected: Path) -> _Counts:
    """Write scores and rejected rows batch by batch."""
    counts = _Counts()
    unit = scorer.spec.unit if scorer.spec.unit in names else None
    with parquet.ParquetWriter(scores, _schema(unit)) as writer, rejected.open("w", encoding="utf-8") as file:

        def reject(rows: pd.DataFrame) -> None:
            rows.to_csv(file, index=False, header=counts.rejected == 0)
            counts.rejected += len(rows)

        if batches.malformed:
            shown = bad_lines(batches.malformed, scorer.spec, scorer.key)
            reject(shown[[*shown.columns[:2], *names]])
        done = 0
        for table, places in batches.read(names):
            rows = judge_rows(table, places, scorer.spec, names, scorer.key)
            if len(rows.quarantine):
                reject(rows.quarantine)
            if len(rows.frame):
                _write(writer, rows, *scorer.answers(rows), version=scorer.version.version, unit=unit, counts=counts)
            done += table.data.num_rows
            scorer.ports.progress(STAGE, done, batches.total, f"{counts.rows:,} rows scored")
    return counts


def _write(
    writer: parquet.ParquetWriter,
    rows: Rows,
    frame: pd.DataFrame,
    answers: Actions,
    *,
    version: int,
    unit: str | None,
    counts: _Counts,
) -> None:
    columns: dict[str, Any] = {
        "row": rows.places,
        **({"unit": frame[unit].to_numpy()} if unit else {}),
        "probability": answers.probability,
        "uplift": answers.uplift,
        "act": answers.act,
        "version": np.full(len(frame), version, dtype=np.int64),
    }
    writer.write_table(pa.table(columns, schema=_schema(unit)))
    counts.rows += len(frame)
    counts.acts += int(answers.act.sum())
    counts.probability += float(answers.probability.sum())


def _schema(unit: str | None) -> pa.Schema:
    return pa.schema(
        {
            "row": pa.int64(),
            **({"unit": pa.string()} if unit else {}),
            "probability": pa.float64(),
            "uplift": pa.float64(),
            "act": pa.bool_(),
            "version": pa.int64(),
        }
    )


def _pseudonyms(units: "pd.Series[Any]", key: bytes) -> "pd.Series[Any]":
    """Units as the feature store knows them; those that are pseudonyms already stay."""
    known = units.map(is_pseudonym).to_numpy(dtype=np.bool_)
    return units.where(known, pseudonymise(units, key))


@contextmanager
def _parts(out: Path) -> Iterator[tuple[Path, Path]]:
    """Names in the folder to write under until all is written; what is left there is removed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"the folder '{out}' cannot be made: {error.strerror}.", remedy="Name another one.") from error
    parts = [out / f".{name}.{os.getpid()}" for name in (SCORES, REJECTED)]
    try:
        yield parts[0], parts[1]
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _too_many(config: Config, rejected: int, read: int, spec: DatasetSpec, quarantine: Path) -> BadInput:
    return BadInput(
        f"{rejected:,} of the {read:,} rows of '{config.data}' are bad ({rejected / read:.1%}; at most "
        f"{spec.quality.max_rejected_share:.1%} may be). All of them, with reasons, are in {quarantine}.",
        remedy="Mend them. The limit is `quality: {max_rejected_share: ...}` in the spec.",
    )
