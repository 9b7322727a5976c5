"""Compares new sessions with those that a model was trained on, and says whether to retrain or to page someone."""

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from trimtab.errors import BadInput, NotFound
from trimtab.models.bundle import ConversionModel
from trimtab.monitoring.drift import PREDICTION, DriftReport
from trimtab.monitoring.health import BrokenColumn, broken_columns
from trimtab.monitoring.policy import Action, DriftDecision, DriftPolicy, important_columns, judge_drift
from trimtab.ports import Ports
from trimtab.sessions.load import read_table
from trimtab.sessions.privacy import load_key
from trimtab.sessions.spec import DatasetSpec, load_spec
from trimtab.sessions.validation import Validated, validate

STAGE = "drift"
RECENT_SHARE = 0.2
_CONSTANT_CHECK = "constant"


@dataclass(frozen=True, slots=True)
class Config:
    """What to compare with what.

    Attributes:
        snapshot_id: The reference; what the model's version was trained on where empty.
        data: File with new sessions; empty compares the last fifth of the snapshot, by time, with the rest.
        spec: Spec of the file; the snapshot's own where empty.
        model: Registered model whose answers are compared too; none where empty. Without a snapshot, the model of the
            spec's name tells which.
        alias: Alias or number of its version.
        page: Where the page goes; under the state folder where empty.
        important: Columns of which one is enough; those that tell most about the label where empty.
        severe: A score of this many thresholds is enough in any column.
        share: This share of the columns is enough.
    """

    snapshot_id: str = ""
    data: str = ""
    spec: str = ""
    model: str = ""
    alias: str = "champion"
    page: str = ""
    important: tuple[str, ...] = ()
    severe: float = 3.0
    share: float = 0.25


@dataclass(frozen=True, slots=True)
class Result:
    """What was found and what it asks for.

    Attributes:
        detected: Whether the sessions drifted.
        action: `page` where the data are broken, `retrain` where they drifted, otherwise `none`.
        reasons: One sentence each, the weightiest first.
        report: Scores of the columns; None where the data are too broken to compare.
        broken: Columns that broke.
        important: Columns of which one is enough.
        rejected_share: Share of the file's rows that validation rejected.
        page: Path of the page; empty where there is none.
    """

    detected: bool
    action: Action
    reasons: tuple[str, ...]
    report: DriftReport | None = None
    broken: tuple[BrokenColumn, ...] = ()
    important: tuple[str, ...] = ()
    rejected_share: float = 0.0
    page: str = ""


def run(config: Config, ports: Ports) -> Result:
    """Compare, write the page and decide.

    A file that cannot be read is bad input. One that can be read but no longer fits its spec (a column is gone, or
    too many rows are bad) is a finding: it asks for someone to look at the pipeline.

    Args:
        config: The configuration.
        ports: The ports.

    Raises:
        NotFound: The snapshot or the model version does not exist, or the version tells of no snapshot.
        BadInput: The file is absent or not a table, or there is none and the snapshot has no timestamp.
    """
    config = replace(config, snapshot_id=config.snapshot_id or _trained_on(config, ports))
    reference, stored = ports.snapshots.read(config.snapshot_id)
    if not config.data:
        earlier, later = _by_time(reference, stored)
        broken = broken_columns(earlier, later, stored)
        return _compare(config, ports, stored, reference=earlier, current=later, broken=broken)
    spec = load_spec(config.spec) if config.spec else stored
    table = read_table(config.data, spec.format)
    ports.progress(STAGE, 0, 3, "validating the new sessions")
    try:
        validated = validate(table, spec, key=load_key(ports.home))
    except BadInput as error:
        return Result(False, "page", (f"{error.message} A broken pipeline, not drift.",))
    share = validated.rejected / validated.read
    if share > spec.quality.max_rejected_share:
        return Result(False, "page", (_too_many(validated, share, spec),), rejected_share=share)
    current = validated.frame
    broken = _broken(reference, validated, spec)
    return _compare(config, ports, spec, reference=reference, current=current, broken=broken, rejected_share=share)


def _trained_on(config: Config, ports: Ports) -> str:
    """The snapshot of the version that answers users now, so that a comparison follows a promotion by itself."""
    if not (config.model or config.spec):
        raise BadInput("neither a snapshot nor a model is given.", remedy="Give one of them, or a spec.")
    version = ports.registry.resolve(config.model or load_spec(config.spec).name, config.alias)
    snapshot = version.tags.get("snapshot_id", "")
    if not snapshot:
        raise NotFound(
            f"version {version.version} of model '{version.name}' tells of no snapshot.", remedy="Name the snapshot."
        )
    return snapshot


def _compare(
    config: Config,
    ports: Ports,
    spec: DatasetSpec,
    *,
    reference: pd.DataFrame,
    current: pd.DataFrame,
    broken: tuple[BrokenColumn, ...] = (),
    rejected_share: float = 0.0,
) -> Result:
    ports.progress(STAGE, 1, 3, "comparing columns")
    if config.model:
        version = ports.registry.resolve(config.model, config.alias)
        model = ConversionModel.load(ports.registry.download(version))
        reference, current = _scored(reference, model), _scored(current, model)
    page = Path(config.page) if config.page else ports.home / "reports" / f"drift-{config.snapshot_id}.html"
    report = ports.drift.compare(reference, current, spec, page=page)
    important = frozenset(config.important) or important_columns(reference, spec)
    policy = DriftPolicy(important=important, severe=config.severe, share=config.share)
    decision: DriftDecision = judge_drift(report, broken=broken, policy=policy)
    ports.progress(STAGE, 3, 3)
    return Result(
        detected=decision.detected,
        action=decision.action,
        reasons=decision.reasons,
        report=report,
        broken=broken,
        important=tuple(sorted(important)),
        rejected_share=rejected_share,
        page=report.page,
    )


def _by_time(sessions: pd.DataFrame, spec: DatasetSpec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The earlier sessions, and the last fifth."""
    if spec.timestamp is None:
        raise BadInput(
            f"spec '{spec.name}' has no timestamp column, so its sessions cannot be compared by time.",
            remedy="Give a file with newer sessions.",
        )
    ordered = sessions.sort_values(spec.timestamp, kind="stable", ignore_index=True)
    cut = round(len(ordered) * (1 - RECENT_SHARE))
    return ordered[:cut], ordered[cut:].reset_index(drop=True)


def _broken(reference: pd.DataFrame, validated: Validated, spec: DatasetSpec) -> tuple[BrokenColumn, ...]:
    """Columns that broke; validation leaves constant ones out of its frame, so they are put back to be judged."""
    constant = {finding.column for finding in validated.findings if finding.check == _CONSTANT_CHECK}
    return broken_columns(reference, validated.frame.assign(**dict.fromkeys(constant, 0)), spec)


def _scored(frame: pd.DataFrame, model: ConversionModel) -> pd.DataFrame:
    """With the model's answers to request-time columns alone; columns that broke count as missing."""
    complete = frame.reindex(columns=[*frame.columns, *(n for n in model.inputs.request if n not in frame)])
    treatment = 0 if model.inputs.treatment else None
    return frame.assign(**{PREDICTION: model.predict(complete, treatment=treatment)})


def _too_many(validated: Validated, share: float, spec: DatasetSpec) -> str:
    worst = max((finding for finding in validated.findings if finding.severity == "error"), key=lambda item: item.rows)
    column = f"'{worst.column}': " if worst.column else ""
    return (
        f"{share:.1%} of the rows are bad, above the limit of {spec.quality.max_rejected_share:.1%}; most have "
        f"{column}{worst.message} A broken pipeline, not drift."
    )
