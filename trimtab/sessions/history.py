"""A unit's history: what is known about a unit once each of its sessions is over.

Pure and vectorised; the feature store serves what is computed here, offline and online. Rules:

- **When a session's outcome is known.** A table of sessions says when a session began, not when it ended, so a session
  counts as over `SESSION_LENGTH` (30 minutes, the inactivity limit that web analytics use) after it began. A session
  that begins before then does not see it, so an outcome never leaks into a session that runs at the same time.
- **Missing values** do not count: a mean is over the earlier sessions that have the value.
- **A unit never seen** has 0 earlier sessions and 0 conversions; everything else about it is missing.
- Rows without a unit or a time belong to nobody's history.
"""

from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.errors import BadInput
from trimtab.sessions.inputs import (
    PRIOR_CONVERSION_RATE,
    PRIOR_CONVERSIONS,
    PRIOR_MEAN_PREFIX,
    PRIOR_SESSIONS,
    PRIOR_VALUE_MEAN,
    has_history,
)
from trimtab.sessions.spec import DatasetSpec

SESSION_LENGTH: Final = timedelta(minutes=30)
KNOWN_AT: Final = "event_timestamp"
LAST_SESSION: Final = "last_session_epoch_seconds"

# Features of a unit never seen; all others are missing.
NEVER_SEEN: Final = {PRIOR_SESSIONS: 0.0, PRIOR_CONVERSIONS: 0.0}

_SECONDS_PER_DAY: Final = 86_400.0


def unit_state(spec: DatasetSpec) -> tuple[str, ...]:
    """Names of what is kept about a unit's conversions and visits; `days_since` turns the last one into a feature."""
    value = (PRIOR_VALUE_MEAN,) if spec.value else ()
    return (PRIOR_SESSIONS, PRIOR_CONVERSIONS, PRIOR_CONVERSION_RATE, *value, LAST_SESSION)


def kpi_state(spec: DatasetSpec) -> tuple[str, ...]:
    """Names of what is kept about a unit's KPIs: the mean of every KPI over the unit's sessions."""
    return tuple(PRIOR_MEAN_PREFIX + name for name in spec.kpis)


def history_states(frame: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
    """The state of each unit after each of its sessions.

    Args:
        frame: Validated sessions: the spec's columns, label 0 or 1, timestamps with a zone. Any order.
        spec: What the columns mean; has a unit and a timestamp.

    Returns:
        One row per unit and moment at which its state changed: the unit column (text), `event_timestamp` (UTC, from
        when the state is known), `unit_state(spec)` and `kpi_state(spec)` as float64. Ordered by unit, then time.
        Sessions of a unit that began at the same moment change its state once, together.

    Raises:
        BadInput: The spec has no unit or no timestamp.
    """
    if not has_history(spec):
        raise BadInput(
            f"spec '{spec.name}' has no unit or no timestamp column, so a session has no history.",
            remedy="Give one column the role 'unit' and one the role 'timestamp'.",
        )
    unit, timestamp = str(spec.unit), str(spec.timestamp)
    sessions = frame.dropna(subset=[unit, timestamp]).sort_values([unit, timestamp], kind="stable", ignore_index=True)
    began = pd.to_datetime(sessions[timestamp], utc=True).astype("datetime64[us, UTC]")
    owner = sessions[unit].astype(str)
    measured = {PRIOR_MEAN_PREFIX + name: sessions[name] for name in spec.kpis}
    if spec.value:
        measured[PRIOR_VALUE_MEAN] = sessions[spec.value]
    means = _running_means(pd.DataFrame(measured).astype(np.float64), owner)
    converted = sessions[spec.label].astype(np.float64).groupby(owner, sort=False).cumsum()
    seen = owner.groupby(owner, sort=False).cumcount().astype(np.float64) + 1.0
    state = pd.DataFrame(
        {
            unit: owner,
            KNOWN_AT: began + SESSION_LENGTH,
            PRIOR_SESSIONS: seen,
            PRIOR_CONVERSIONS: converted,
            PRIOR_CONVERSION_RATE: converted / seen,
            LAST_SESSION: epoch_seconds(began),
            **{name: means[name] for name in measured},
        }
    )
    last_of_moment = ~state.duplicated([unit, KNOWN_AT], keep="last")
    return state.loc[last_of_moment, [unit, KNOWN_AT, *unit_state(spec), *kpi_state(spec)]].reset_index(drop=True)


def days_since(last_session: npt.ArrayLike, at: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Days from the beginning of a unit's last session to a request.

    Args:
        last_session: `last_session_epoch_seconds` of each unit; missing for a unit never seen.
        at: Seconds since the epoch of each request.

    >>> days_since([0.0, float("nan")], [86_400.0, 86_400.0]).tolist()
    [1.0, nan]
    """
    elapsed = np.asarray(at, dtype=np.float64) - np.asarray(last_session, dtype=np.float64)
    return np.asarray(elapsed / _SECONDS_PER_DAY, dtype=np.float64)


def epoch_seconds(times: pd.Series) -> npt.NDArray[np.float64]:
    """Aware times as seconds since the epoch, with microseconds; NaN where missing."""
    micros = pd.to_datetime(times, utc=True).astype("datetime64[us, UTC]")
    seconds = micros.to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    return np.where(micros.isna(), np.nan, seconds)


def _running_means(values: pd.DataFrame, owner: pd.Series) -> pd.DataFrame:
    """Mean of each column over a unit's rows up to and including each; sums are compensated and per unit."""
    sums = values.fillna(0.0).groupby(owner, sort=False).cumsum()
    counts = values.notna().astype(np.float64).groupby(owner, sort=False).cumsum()
    return sums / counts.where(counts > 0)
