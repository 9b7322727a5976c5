"""From a file's content to accepted sessions, quarantine and findings; the order of the checks is decided here."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
import pandas as pd
import pyarrow as pa

from trimtab.errors import BadInput
from trimtab.sessions.explain import suggestion
from trimtab.sessions.load import Table
from trimtab.sessions.privacy import PersonalContent, find_personal, mask, name_suggests_personal, pseudonymise
from trimtab.sessions.spec import AttributeColumn, DatasetSpec, IgnoredColumn
from trimtab.sessions.validation import checks
from trimtab.sessions.validation.coerce import coerce, plain_text
from trimtab.sessions.validation.findings import Defect, Finding, Validated
from trimtab.sessions.validation.quarantine import defect_findings, malformed_defect, mask_details, rejected_rows
from trimtab.sessions.validation.schema import row_defects

_SEVERITIES = ("error", "warning", "info")
# From this share of distinct values on, a column is about people; below it, single cells slipped in.
_PERSONAL_SHARE = 0.5
_SAMPLE = 20_000
# Columns named in one message; a file read with another's spec lacks them all.
_MOST_NAMED = 8


def validate(
    table: Table,
    spec: DatasetSpec,
    *,
    key: bytes,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Validated:
    """Judge each row, then the accepted rows together.

    Args:
        table: The file's content, from `read_table`.
        spec: What its columns mean.
        key: Key of the pseudonyms, from `privacy.load_key`.
        progress: Hears how many of how many columns are read.

    Returns:
        The accepted rows with the spec that describes them, the rejected ones, and the findings. Whether they are
        enough to go on is asked by `require_usable`.

    Raises:
        BadInput: A column is absent, or unusable as a whole.
    """
    _require_columns(table, spec)
    frame, defects = coerce(table, spec, key=key, progress=progress)
    defects += row_defects(frame, spec, defects)
    broken = malformed_defect(table)
    defects += [broken] if broken else []

    found = _personal_content(frame, spec)
    hidden = _undeclared_personal(table, spec)
    personal = frozenset(
        name
        for name, column in spec.columns.items()
        if name == spec.unit or (isinstance(column, AttributeColumn) and column.personal)
    )
    mostly = {name for name, content in found.items() if content.share >= _PERSONAL_SHARE}
    secret = personal | mostly | hidden.keys()
    defects = mask_details(defects, personal=secret, key=key)
    accepted = _accepted(frame, defects, spec)
    accepted = _hide(accepted, whole=personal | mostly, cells=set(found) - mostly, key=key)
    ignored = {name for name, column in spec.columns.items() if isinstance(column, IgnoredColumn)}
    described = _revise(spec, drop=ignored, personal=mostly - {spec.id})
    findings = [
        *defect_findings(defects, table),
        *_content_findings(found, mostly),
        *checks.undeclared(table.columns, spec, hidden),
        *checks.personal_columns(spec),
        *checks.late_columns(described),
    ]
    left_out: set[str] = set()
    if len(accepted) and accepted[spec.label].nunique() == 2:
        judged = _judge(accepted, described)
        findings += judged
        left_out = {finding.column for finding in judged if finding.check in {"constant", "copy"}}
    described = _revise(described, drop=left_out)
    findings.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    return Validated(
        frame=accepted.drop(columns=sorted(left_out)),
        spec=described,
        quarantine=rejected_rows(table, defects, personal=secret, key=key),
        findings=tuple(findings),
        read=table.rows,
    )


def require_usable(validated: Validated, *, source: str, quarantine: str = "") -> None:
    """Stop where too many rows were rejected or too few are left.

    Args:
        validated: What validation found.
        source: The file, for the message.
        quarantine: Where the rejected rows were written, for the message.

    Raises:
        BadInput: The share of rejected rows is above `quality.max_rejected_share`, fewer rows than
            `quality.min_rows` or `quality.min_class_rows` are accepted, or all have one label.
    """
    limits = validated.spec.quality
    share = validated.rejected / validated.read
    errors = sorted(
        (finding for finding in validated.findings if finding.severity == "error"), key=lambda item: -item.rows
    )
    if share > limits.max_rejected_share:
        worst = errors[0]
        where = f"column '{worst.column}': " if worst.column else ""
        listed = f" All of them, with reasons, are in {quarantine}." if quarantine else ""
        raise BadInput(
            f"{validated.rejected:,} of the {validated.read:,} rows of '{source}' are bad ({share:.1%}; "
            f"at most {limits.max_rejected_share:.1%} may be). Most frequent ({worst.rows:,} rows): "
            f"{where}{worst.message}",
            remedy=f"{worst.remedy}{listed} The limit is `quality: {{max_rejected_share: ...}}` in the spec.",
        )
    rows, label = len(validated.frame), validated.spec.label
    if rows < limits.min_rows:
        raise BadInput(
            f"'{source}' has {rows:,} good rows; at least {limits.min_rows:,} are needed.",
            remedy="Give more rows, or lower `quality: {min_rows: ...}` in the spec.",
        )
    positives = int(validated.frame[label].sum())
    rarer = min(positives, rows - positives)
    if rarer < limits.min_class_rows:
        raise BadInput(
            f"column '{label}' (label) of '{source}' is positive in {positives:,} of {rows:,} good rows; "
            f"at least {limits.min_class_rows:,} of either kind are needed.",
            remedy="Give more rows, or lower `quality: {min_class_rows: ...}` in the spec.",
        )


def _require_columns(table: Table, spec: DatasetSpec) -> None:
    wanted = [name for name, column in spec.columns.items() if not isinstance(column, IgnoredColumn)]
    absent = [name for name in wanted if name not in table.columns]
    if not absent:
        return
    free = [name for name in table.columns if name not in spec.columns]
    clauses = []
    for name in absent[:_MOST_NAMED]:
        near = suggestion(name, free).removeprefix("; ")
        clauses.append(f"'{name}'" + (f" ({near})" if near else ""))
    raise BadInput(
        f"'{table.path}' has no column {_listed(clauses, len(absent))}. "
        f"It has: {_listed(table.columns, len(table.columns))}.",
        remedy=f"Rename the columns in the file or in spec '{spec.name}', or take them out of the spec.",
    )


def _listed(names: Sequence[str], count: int) -> str:
    """The first names, and how many more of `count` there are."""
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {count - _MOST_NAMED} more" if count > _MOST_NAMED else shown


def _personal_content(frame: pd.DataFrame, spec: DatasetSpec) -> dict[str, PersonalContent]:
    """Personal data in declared text columns that the spec does not call personal."""
    names = [name for name, column in spec.attributes.items() if column.kind == "categorical" and not column.personal]
    names += [spec.id] if spec.id else []
    looked = {name: find_personal(frame[name].unique()) for name in names}
    return {name: content for name, content in looked.items() if content is not None}


def _undeclared_personal(table: Table, spec: DatasetSpec) -> dict[str, str]:
    """Columns that are not used and look personal, with what they seem to hold."""
    kinds: dict[str, str] = {}
    for name in table.columns:
        if name in spec.columns and not isinstance(spec.columns[name], IgnoredColumn):
            continue
        if name_suggests_personal(name):
            kinds[name] = "by its name"
            continue
        source = table.data.column(name)
        if pa.types.is_nested(source.type) or pa.types.is_binary(source.type):
            continue
        distinct = plain_text(source, spec.format.missing).unique()
        content = find_personal(distinct.slice(0, _SAMPLE).to_pylist())
        if content is not None and content.share >= _PERSONAL_SHARE:
            kinds[name] = content.kind
    return kinds


def _accepted(frame: pd.DataFrame, defects: list[Defect], spec: DatasetSpec) -> pd.DataFrame:
    """The rows without a defect, label and treatment as whole numbers."""
    good = np.ones(len(frame), dtype=bool)
    for defect in defects:
        good[defect.rows[defect.rows < len(frame)]] = False
    accepted = frame[good].reset_index(drop=True)
    binary = [name for name in (spec.label, spec.treatment) if name is not None]
    return accepted.astype(dict.fromkeys(binary, np.int64))


def _hide(frame: pd.DataFrame, *, whole: AbstractSet[str], cells: AbstractSet[str], key: bytes) -> pd.DataFrame:
    """Pseudonyms for columns about people, and for single cells elsewhere that hold personal data."""
    hidden = {name: pseudonymise(frame[name], key) for name in whole}
    for name in cells:
        distinct = frame[name].dropna().unique()
        hidden[name] = frame[name].map({value: mask(value, key) for value in distinct}).astype(object)
        hidden[name] = hidden[name].where(hidden[name].notna(), None)
    return frame.assign(**hidden)


def _content_findings(found: dict[str, PersonalContent], mostly: AbstractSet[str]) -> list[Finding]:
    findings = []
    for name, content in found.items():
        if name in mostly:
            message = f"{content.share:.0%} of its values are a {content.kind}; replaced by pseudonyms, not an input."
            remedy = "Give it role 'ignore', or `personal: true` to silence this."
        else:
            message = f"{len(content.values):,} of its values hold a {content.kind}; replaced by pseudonyms."
            remedy = "Find out how personal data came into it."
        findings.append(Finding("warning", "personal", name, message, remedy))
    return findings


def _judge(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    return [
        finding
        for check in (
            checks.leaks,
            checks.constants,
            checks.balance,
            checks.sparse,
            checks.cardinality,
            checks.duplicate_rows,
            checks.repeated_units,
            checks.assignment,
        )
        for finding in check(frame, spec)
    ]


def _revise(
    spec: DatasetSpec, *, drop: AbstractSet[str] = frozenset(), personal: AbstractSet[str] = frozenset()
) -> DatasetSpec:
    """The spec without columns that were left out, and with what was found to be personal marked so."""
    columns = {
        name: column.model_copy(update={"personal": True}) if name in personal else column
        for name, column in spec.columns.items()
        if name not in drop
    }
    revised = spec.model_copy(update={"columns": columns})
    if not revised.inputs:
        raise BadInput(
            f"spec '{spec.name}': no column is left as a model input; left out were "
            f"{', '.join(sorted({*drop, *personal}))}.",
            remedy="Name at least one KPI or attribute that varies and is known at prediction time.",
        )
    return revised
