"""Divides the next units among the arms by Thompson sampling, from what their matured exposures brought."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from trimtab.errors import BadInput
from trimtab.experiments.bandit import CAVEAT, BanditState, allocation, observe
from trimtab.experiments.bayes import BetaPrior
from trimtab.ports import Ports
from trimtab.sessions.explain import suggestion
from trimtab.sessions.load import read_table

_TALLY = ("arm", "successes", "units")


@dataclass(frozen=True, slots=True)
class Config:
    """What was seen, and how the next units are divided.

    Attributes:
        data: CSV or Parquet with one row per exposure; or, without `time`, one row per arm with the columns arm,
            successes, units (matured exposures only) and maybe pending.
        arm: Column of the arm.
        time: Column of the exposure's time; empty for one row per arm.
        rewarded: Column of the reward's time, empty where none came yet.
        window_hours: A reward counts if it comes within this time; younger exposures count for nothing yet.
        now: The time; the latest one in the data where empty.
        arms: Arms besides those in the data, e.g. new ones.
        floor: Least share of every arm.
        prior: Parameters a, b of every arm's Beta prior.
    """

    data: str
    arm: str = "arm"
    time: str = ""
    rewarded: str = "rewarded_at"
    window_hours: float = 24.0
    now: str = ""
    arms: tuple[str, ...] = ()
    floor: float = 0.0
    prior: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True)
class ArmShare:
    """One arm.

    Attributes:
        successes: Matured exposures with a reward.
        units: Matured exposures.
        pending: Exposures whose time is not over; they count for nothing yet.
        rate: Posterior mean of the rate.
        share: Share of the next units.
    """

    successes: int
    units: int
    pending: int
    rate: float
    share: float


@dataclass(frozen=True, slots=True)
class Result:
    """The next allocation.

    Attributes:
        arms: By name.
        as_of: When it was judged; empty for one row per arm.
        caveat: What an allocation that follows the outcomes costs.
    """

    arms: dict[str, ArmShare]
    as_of: str
    caveat: str = CAVEAT


def run(config: Config, ports: Ports) -> Result:
    """Divide the next units.

    Args:
        config: The configuration.
        ports: The ports.

    Raises:
        BadInput: The file lacks a column or holds impossible values, or the options contradict each other.
    """
    if min(config.prior) <= 0:
        raise BadInput(f"the prior is Beta{config.prior}; both parameters must be above 0.")
    table = read_table(config.data)
    if table.malformed:
        raise BadInput(f"row {table.malformed[0].record + 1} of '{config.data}' has a wrong number of fields.")
    frame = table.data.to_pandas()
    as_of = ""
    if config.time:
        state, moment = _from_exposures(config, frame)
        as_of = moment.isoformat()
    else:
        state = _from_tally(config, frame)
    if len(state.matured) < 2:
        raise BadInput(f"'{config.data}' has one arm only, so there is nothing to divide.")
    shares = allocation(state, floor=config.floor)
    ports.progress("bandit", 1, 1, "allocation")
    arms = {
        arm: ArmShare(*state.matured[arm], state.pending[arm], state.posterior(arm).mean, shares[arm]) for arm in shares
    }
    return Result(arms, as_of)


def _from_exposures(config: Config, frame: pd.DataFrame) -> tuple[BanditState, datetime]:
    _check(frame, (config.arm, config.time, config.rewarded), config.data)
    if frame[config.arm].replace("", np.nan).isna().any():
        raise BadInput(f"column '{config.arm}' of '{config.data}' has rows without an arm.")
    exposed, rewarded = (_times(frame, name, config.data) for name in (config.time, config.rewarded))
    if exposed.isna().any():
        raise BadInput(f"column '{config.time}' of '{config.data}' has rows without a time.")
    moment = _moment(config.now) if config.now else pd.concat([exposed, rewarded]).max().to_pydatetime()
    arm = frame[config.arm].astype(str).to_numpy(dtype=object)
    state = observe(
        list(dict.fromkeys([*sorted(set(arm)), *config.arms])),
        exposed_arm=arm,
        exposed_at=_hours(exposed),
        rewarded_at=_hours(rewarded),
        now=moment.timestamp() / 3600,
        window=config.window_hours,
        prior=BetaPrior(*config.prior),
    )
    return state, moment


def _from_tally(config: Config, frame: pd.DataFrame) -> BanditState:
    _check(frame, _TALLY, config.data)
    matured: dict[str, tuple[int, int]] = dict.fromkeys(config.arms, (0, 0))
    pending = dict.fromkeys(config.arms, 0)
    named = [name for name in ("successes", "units", "pending") if name in frame]
    for place, row in enumerate(frame.to_dict("records"), start=1):
        arm, where = str(row["arm"] or "").strip(), f"row {place} of '{config.data}'"
        counts = {name: _count(row[name], f"{where}: '{name}'") for name in named}
        if not arm or (arm in matured and arm not in config.arms):
            raise BadInput(f"{where} names {'arm ' + repr(arm) + ' a second time' if arm else 'no arm'}.")
        if counts["successes"] > counts["units"]:
            raise BadInput(f"{where} has more successes than units.")
        matured[arm] = counts["successes"], counts["units"]
        pending[arm] = counts.get("pending", 0)
    return BanditState(matured, pending, BetaPrior(*config.prior))


def _check(frame: pd.DataFrame, names: tuple[str, ...], data: str) -> None:
    columns = [str(name) for name in frame.columns]
    for name in names:
        if name not in columns:
            near = suggestion(name, columns) or "."
            raise BadInput(f"'{data}' has no column '{name}'{near}", remedy=f"Its columns are {', '.join(columns)}.")


def _times(frame: pd.DataFrame, name: str, data: str) -> "pd.Series[pd.Timestamp]":
    written = frame[name].replace("", None)
    times = pd.to_datetime(written, utc=True, errors="coerce", format="ISO8601")
    wrong = times.isna() & written.notna()
    if wrong.any():
        raise BadInput(
            f"column '{name}' of '{data}' does not hold times, but e.g. {written[wrong].iloc[0]!r}.",
            remedy="Write times as 2026-11-01T12:00:00Z.",
        )
    return times


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"--now '{text}' is not a time.", remedy="Write it as 2026-11-01T12:00:00Z.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hours(times: "pd.Series[pd.Timestamp]") -> np.ndarray:
    since = (times - pd.Timestamp(0, tz="UTC")) / timedelta(hours=1)
    return since.fillna(np.inf).to_numpy(dtype=np.float64)


def _count(value: object, where: str) -> int:
    try:
        number = float(str(value))
    except ValueError as error:
        raise BadInput(f"{where} is {value!r}, which is not a number.") from error
    if not (np.isfinite(number) and number >= 0 and number == int(number)):
        raise BadInput(f"{where} is {value!r}; it must be a whole number, not negative.")
    return int(number)
