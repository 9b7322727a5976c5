"""The contract of a snapshot store: every adapter of `trimtab.ports.SnapshotStore` passes it.

A test module inherits `SnapshotStoreContract` and gives it a `store` fixture.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import NotFound
from trimtab.ports import SnapshotStore
from trimtab.sessions.spec import DatasetSpec, dump_spec

SPEC = DatasetSpec.model_validate(
    {
        "name": "contract",
        "columns": {
            "user": {"role": "unit"},
            "at": {"role": "timestamp"},
            "bought": {"role": "label"},
            "lcp_ms": {"role": "kpi", "direction": "lower", "layer": "frontend"},
            "device": {"role": "attribute"},
        },
    }
)


def sessions(rows: int = 6) -> pd.DataFrame:
    """Accepted sessions with every kind of column, and missing values in each that allows them."""
    counter = np.arange(rows)
    return pd.DataFrame(
        {
            "user": [f"p-{number % 3}" for number in counter],
            "at": pd.Timestamp("2026-11-22T14:00:00Z") + pd.to_timedelta(counter, unit="min"),
            "bought": counter % 2,
            "lcp_ms": np.where(counter == 1, np.nan, 1000.0 + counter / 3),
            "device": pd.Series(["mobile", None, "größer 🚀"] * rows, dtype=object)[:rows],
        }
    )


class SnapshotStoreContract:
    """What any snapshot store does."""

    @pytest.fixture
    def store(self) -> SnapshotStore:
        """The store under test; empty."""
        raise NotImplementedError

    def test_gives_back_what_was_put(self, store: SnapshotStore) -> None:
        """Rows, order, types, missing values and spec survive."""
        put = store.put(sessions(), SPEC, source="a.csv", rejected=2)
        frame, spec = store.read(put.id)
        pd.testing.assert_frame_equal(frame, sessions())
        assert spec == SPEC
        assert (put.rows, put.rejected, put.spec_name, put.source) == (6, 2, "contract", "a.csv")

    def test_describes_what_was_put(self, store: SnapshotStore) -> None:
        """`get` equals what `put` returned."""
        put = store.put(sessions(), SPEC, source="a.csv", rejected=0)
        assert store.get(put.id) == put

    def test_equal_data_are_one_snapshot(self, store: SnapshotStore) -> None:
        """A second put of equal data returns the first snapshot and leaves derived files alone."""
        first = store.put(sessions(), SPEC, source="a.csv", rejected=0)
        derived = store.folder(first.id) / "training.parquet"
        derived.write_bytes(b"derived")
        assert store.put(sessions(), SPEC, source="b.csv", rejected=3) == first
        assert derived.read_bytes() == b"derived"

    def test_other_data_or_spec_are_another_snapshot(self, store: SnapshotStore) -> None:
        """One changed cell, row order or spec field changes the id."""
        changed = sessions()
        changed["lcp_ms"] += np.where(changed.index == 3, 1e-9, 0.0)
        other_spec = SPEC.model_copy(update={"prediction_time": "session_end"})
        ids = {
            store.put(frame, spec, source="", rejected=0).id
            for frame, spec in [
                (sessions(), SPEC),
                (changed, SPEC),
                (sessions()[::-1].reset_index(drop=True), SPEC),
                (sessions(), other_spec),
            ]
        }
        assert len(ids) == 4

    def test_folder_holds_the_documented_files(self, store: SnapshotStore) -> None:
        """Other processes find the files by name."""
        snapshot = store.put(sessions(), SPEC, source="a.csv", rejected=1)
        folder = store.folder(snapshot.id)
        assert Path(snapshot.uri) == folder
        assert sorted(path.name for path in folder.iterdir()) == ["sessions.parquet", "snapshot.json", "spec.yaml"]
        assert (folder / "spec.yaml").read_text(encoding="utf-8") == dump_spec(SPEC)
        described = json.loads((folder / "snapshot.json").read_text(encoding="utf-8"))
        assert replace(snapshot, **described) == snapshot

    @pytest.mark.parametrize("absent", ["0123456789abcdef", "", "..", "../elsewhere", "latest"])
    def test_absent_is_not_found(self, store: SnapshotStore, absent: str) -> None:
        """Whatever is asked, an unknown id is NotFound, also where it looks like a path."""
        store.put(sessions(), SPEC, source="a.csv", rejected=0)
        for ask in (store.get, store.read, store.folder):
            with pytest.raises(NotFound, match="no snapshot"):
                ask(absent)
