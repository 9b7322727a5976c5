"""What is judged over a whole column or table of accepted rows: each check gives findings, none changes the data."""

import numpy as np
import pandas as pd

from trimtab.sessions.inputs import has_history
from trimtab.sessions.spec import AttributeColumn, DatasetSpec, IgnoredColumn, TreatmentColumn
from trimtab.sessions.validation.findings import Finding
from trimtab.sessions.validation.leakage import column_auc

# A column that ranks the label this well is the label under another name, and is not given to a model.
COPY_AUC = 0.995
_RARE_SHARE = 0.01
_MANY_VALUES = 1_000
_MOSTLY_UNIQUE = 0.5
_OFTEN_MISSING = 0.5
_ASSIGNMENT_Z = 4.0


def duplicate_rows(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """Whole rows that repeat an earlier one, where no id can tell whether they are one session or two."""
    if spec.id is not None:
        return []
    repeats = int(frame.duplicated().sum())
    if not repeats:
        return []
    return [
        Finding(
            "warning",
            "duplicates",
            "",
            f"{_rows(repeats)} repeat an earlier row in every column and were kept: without an id they may be real.",
            "Name an id column in the spec, so that repeats can be told from equal sessions.",
            repeats,
        )
    ]


def repeated_units(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """Several rows of one unit that cannot be put in order."""
    if spec.unit is None or spec.timestamp is not None:
        return []
    repeats = int(frame[spec.unit].duplicated().sum())
    if not repeats:
        return []
    return [
        Finding(
            "warning",
            "duplicates",
            spec.unit,
            f"{_rows(repeats)} belong to a unit that has an earlier row; without a timestamp there is no history.",
            "Name a timestamp column in the spec, or keep one row per unit.",
            repeats,
        )
    ]


def constants(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """KPIs and attributes with a single value, which can teach a model nothing."""
    return [
        Finding(
            "warning",
            "constant",
            name,
            f"has the one value {_shown(frame[name].iloc[0])} in every row; left out.",
            "Check that it is measured, or take it out of the spec.",
            len(frame),
        )
        for name in spec.measures
        if frame[name].nunique(dropna=False) == 1
    ]


def leaks(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """Inputs that predict the label better than an honest measure of a session does.

    Nothing is said of fewer than `quality.min_class_rows` rows of either outcome, which anything may rank by chance.
    """
    if frame[spec.label].value_counts().min() < spec.quality.min_class_rows:
        return []
    findings = []
    for name in spec.inputs:
        score = column_auc(frame[name], frame[spec.label])
        if score < spec.quality.leak_auc:
            continue
        copy = score >= max(COPY_AUC, spec.quality.leak_auc)
        message = f"alone ranks '{spec.label}' with AUC {score:.3f} (limit {spec.quality.leak_auc:g}): "
        if copy:
            message += "the label under another name; left out."
            findings.append(Finding("warning", "copy", name, message, rows=len(frame)))
        else:
            message += "a likely leak."
            late = "" if spec.prediction_time == "session_end" else "`known_at: session_end` or "
            remedy = f"If it is not known before the outcome, give it {late}role 'ignore'."
            findings.append(Finding("warning", "leak", name, message, remedy, len(frame)))
    return findings


def late_columns(spec: DatasetSpec) -> list[Finding]:
    """Columns that do not exist yet when the model is asked."""
    if spec.prediction_time == "session_end":
        return []
    late = [name for name, column in spec.measures.items() if column.known_at == "session_end"]
    if not late:
        return []
    history = "; their means over a unit's earlier sessions are" if has_history(spec) else ""
    message = f"{_names(late)} known only at session end: not a model input at request time{history}."
    return [Finding("info", "known_at", "", message)]


def balance(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """A rare outcome."""
    rate = float(frame[spec.label].mean())
    if min(rate, 1 - rate) >= _RARE_SHARE:
        return []
    rarer = int(min(frame[spec.label].sum(), len(frame) - frame[spec.label].sum()))
    return [
        Finding(
            "warning",
            "balance",
            spec.label,
            f"is positive in {rate:.2%} of rows; only {_rows(rarer)} of the rarer kind, so intervals will be wide.",
            "Collect more rows; do not oversample, which would spoil the probabilities.",
            rarer,
        )
    ]


def cardinality(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """Categories with so many values that they name rows rather than describe them."""
    findings = []
    for name, column in spec.attributes.items():
        if column.kind == "numeric" or column.personal:
            continue
        distinct = frame[name].nunique()
        if distinct > _MANY_VALUES or distinct > _MOSTLY_UNIQUE * len(frame):
            findings.append(
                Finding(
                    "warning",
                    "cardinality",
                    name,
                    f"has {distinct:,} values in {len(frame):,} rows.",
                    "Group its values, or give it role 'ignore' if it identifies rows.",
                    len(frame),
                )
            )
    return findings


def sparse(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """Inputs that are missing more often than not."""
    shares = frame[list(spec.inputs)].isna().mean()
    return [
        Finding(
            "warning",
            "missing",
            str(name),
            f"is missing in {share:.0%} of rows.",
            "Check how it is collected; the model fills it in from the rest.",
            round(float(share) * len(frame)),
        )
        for name, share in shares.items()
        if share > _OFTEN_MISSING
    ]


def assignment(frame: pd.DataFrame, spec: DatasetSpec) -> list[Finding]:
    """A treatment whose share is not the one that the spec says was drawn (z test of a proportion)."""
    treatments = spec.named(TreatmentColumn)
    if spec.treatment is None:
        return []
    expected = treatments[spec.treatment].probability
    share = float(frame[spec.treatment].mean())
    z = (share - expected) / np.sqrt(expected * (1 - expected) / len(frame))
    if abs(z) < _ASSIGNMENT_Z:
        return []
    return [
        Finding(
            "warning",
            "treatment",
            spec.treatment,
            f"was given to {share:.2%} of sessions where the spec says {expected:.2%} (z = {z:.1f}).",
            "Correct `probability` in the spec, or find out why the assignment was not random.",
            len(frame),
        )
    ]


def undeclared(columns: tuple[str, ...], spec: DatasetSpec, personal: dict[str, str]) -> list[Finding]:
    """Columns of the file that the spec does not name."""
    ignored = [name for name in columns if isinstance(spec.columns.get(name), IgnoredColumn)]
    extra = [name for name in columns if name not in spec.columns]
    harmless = [name for name in extra if name not in personal]
    findings = [
        Finding("warning", "personal", name, f"looks personal ({personal[name]}) and is not in the spec; dropped.")
        for name in extra
        if name in personal
    ]
    if harmless:
        findings.append(
            Finding(
                "info", "columns", "", f"{_names(harmless)} not in the spec; dropped.", "Name what a model should see."
            )
        )
    if ignored:
        findings.append(Finding("info", "columns", "", f"{_names(ignored)} ignored, as the spec says."))
    return findings


def personal_columns(spec: DatasetSpec) -> list[Finding]:
    """What was replaced by pseudonyms because the spec says so."""
    names = [
        name for name, column in spec.attributes.items() if isinstance(column, AttributeColumn) and column.personal
    ]
    if spec.unit is not None:
        names.insert(0, spec.unit)
    return [Finding("info", "personal", "", f"{_names(names)} replaced by pseudonyms.")] if names else []


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _names(names: list[str], most: int = 8) -> str:
    shown = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"{shown} {'is' if len(names) == 1 else 'are'}"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
