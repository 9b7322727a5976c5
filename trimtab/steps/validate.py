"""Read a file, judge it, keep what is good as a snapshot and what is bad in quarantine."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from trimtab.errors import BadInput
from trimtab.ports import Ports
from trimtab.sessions.load import read_table
from trimtab.sessions.privacy import load_key
from trimtab.sessions.spec import load_spec
from trimtab.sessions.validation import Finding, Validated, require_usable, validate

STAGE = "validate"


@dataclass(frozen=True, slots=True)
class Config:
    """What to validate.

    Attributes:
        data: A CSV or Parquet file.
        spec: A spec file, or the name of a shipped spec.
        quarantine: Where rejected rows go; empty for a file named after the data in the state folder.
    """

    data: str
    spec: str
    quarantine: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What was read, kept and found.

    Attributes:
        snapshot_id: Id of the accepted sessions.
        snapshot: Folder of the snapshot.
        data: The file that was read.
        spec: Name of the dataset spec.
        read: Rows read: accepted plus rejected.
        rows: Accepted rows.
        rejected: Rejected rows.
        quarantine: CSV of the rejected rows; empty where none were.
        conversion_rate: Share of accepted rows with a positive label.
        inputs: Number of columns that a model may use.
        findings: What a reader of the data should know, gravest first.
    """

    snapshot_id: str
    snapshot: str
    data: str
    spec: str
    read: int
    rows: int
    rejected: int
    quarantine: str
    conversion_rate: float
    inputs: int
    findings: tuple[Finding, ...]


def run(config: Config, ports: Ports) -> Result:
    """Validate a file.

    Raises:
        BadInput: The file or the spec is unusable, or too few rows are good; then the quarantine file is there.
    """
    spec = load_spec(config.spec)
    ports.progress(STAGE, 0, len(spec.columns) + 1, "reading")
    table = read_table(config.data, spec.format)
    validated = validate(
        table,
        spec,
        key=load_key(ports.home),
        progress=lambda done, total: ports.progress(STAGE, done, total + 1, "checking columns"),
    )
    quarantine = _write_quarantine(validated, config, ports.home)
    require_usable(validated, source=config.data, quarantine=quarantine)
    snapshot = ports.snapshots.put(validated.frame, validated.spec, source=config.data, rejected=validated.rejected)
    ports.progress(STAGE, 1, 1, f"snapshot {snapshot.id}")
    return Result(
        snapshot_id=snapshot.id,
        snapshot=snapshot.uri,
        data=config.data,
        spec=spec.name,
        read=validated.read,
        rows=len(validated.frame),
        rejected=validated.rejected,
        quarantine=quarantine,
        conversion_rate=validated.conversion_rate,
        inputs=len(validated.spec.inputs),
        findings=validated.findings,
    )


def _write_quarantine(validated: Validated, config: Config, home: Path) -> str:
    """Write the rejected rows in one move; returns the path, or nothing where there are none."""
    path = Path(config.quarantine) if config.quarantine else _place(Path(config.data), home)
    if not validated.rejected and not path.is_file():
        return ""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without a bad row the file of an earlier version of the data is overwritten too: it must not mislead.
        validated.quarantine.to_csv(part, index=False)
        part.replace(path)
    except OSError as error:
        raise BadInput(
            f"the quarantine file '{path}' cannot be written: {error.strerror}.", remedy="Choose another place."
        ) from error
    return str(path) if validated.rejected else ""


def _place(data: Path, home: Path) -> Path:
    """Where rejected rows of a file go: named after it, and apart from those of a file of that name elsewhere."""
    name = re.sub(r"[^\w.-]+", "-", data.stem)
    folder = hashlib.sha256(str(data.absolute().parent).encode()).hexdigest()[:8]
    return home / "quarantine" / f"{name}-{folder}.csv"
