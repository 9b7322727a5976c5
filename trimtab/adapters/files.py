"""Snapshots as folders of one file system.

A snapshot is written beside its place and renamed into it, so that a reader sees all of it or nothing, whenever the
writer dies and however many write the same one at once.
"""

import os
import re
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import mkdtemp

import orjson
import pandas as pd

from trimtab.errors import NotFound, TrimtabError
from trimtab.sessions.snapshots import snapshot_id
from trimtab.sessions.spec import DatasetSpec, dump_spec, load_spec
from trimtab.types import Snapshot

_PART = ".part-"
_ABANDONED_SECONDS = 24 * 3600


class FileSnapshotStore:
    """Satisfies `trimtab.ports.SnapshotStore`.

    Each snapshot is the folder `<root>/<id>`:

    | file | content |
    |---|---|
    | `sessions.parquet` | the accepted sessions, in the source's order |
    | `spec.yaml` | the dataset spec of these columns |
    | `snapshot.json` | the fields of `trimtab.types.Snapshot` except `uri`, which is the folder itself |

    Args:
        root: Folder of the snapshots; made when the first one is put.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, frame: pd.DataFrame, spec: DatasetSpec, *, source: str, rejected: int) -> Snapshot:
        """Store accepted sessions; equal data return the snapshot that is there."""
        name = snapshot_id(frame, spec)
        if (self._root / name).is_dir():
            return self.get(name)
        self._root.mkdir(parents=True, exist_ok=True)
        self._sweep()
        part = Path(mkdtemp(prefix=_PART, dir=self._root))
        try:
            snapshot = Snapshot(name, "", len(frame), rejected, spec.name, source)
            frame.to_parquet(part / "sessions.parquet", index=False, compression="zstd")
            (part / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
            fields = {key: value for key, value in asdict(snapshot).items() if key != "uri"}
            (part / "snapshot.json").write_bytes(orjson.dumps(fields, option=orjson.OPT_INDENT_2))
            _flush(part)
            part.chmod(0o755)
            part.rename(self._root / name)
        except OSError as error:
            if not (self._root / name).is_dir():
                raise TrimtabError(
                    f"snapshot '{name}' cannot be written to '{self._root}': {error}.",
                    remedy="Free space or grant access there, then run again.",
                ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return self.get(name)

    def get(self, snapshot_id: str) -> Snapshot:
        """Describe one snapshot. Raises NotFound."""
        folder = self.folder(snapshot_id)
        fields = orjson.loads((folder / "snapshot.json").read_bytes())
        return Snapshot(**fields, uri=str(folder))

    def read(self, snapshot_id: str) -> tuple[pd.DataFrame, DatasetSpec]:
        """The sessions and the spec of one snapshot. Raises NotFound."""
        folder = self.folder(snapshot_id)
        return pd.read_parquet(folder / "sessions.parquet"), load_spec(str(folder / "spec.yaml"))

    def folder(self, snapshot_id: str) -> Path:
        """A folder that later steps may add derived files to. Raises NotFound."""
        folder = self._root / snapshot_id
        if not re.fullmatch(r"[0-9a-f]{16}", snapshot_id) or not folder.is_dir():
            raise NotFound(
                f"there is no snapshot '{snapshot_id}' in '{self._root}'.",
                remedy="`trimtab validate` makes one and prints its id.",
            )
        return folder

    def _sweep(self) -> None:
        """Remove what writers that died long ago left beside the snapshots."""
        for part in self._root.glob(f"{_PART}*"):
            if time.time() - part.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(part, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Have the disk hold every file before the rename makes them visible."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
