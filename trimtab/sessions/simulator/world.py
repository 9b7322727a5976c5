"""The world after the data were written: its users, what they did so far, and their next visits.

An experiment plays on it: each next visit comes with the true probability to convert with and without the action, so
that what a served model version decides determines what really happens.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from trimtab.errors import BadInput, NotFound
from trimtab.sessions.simulator.catalogue import Array
from trimtab.sessions.simulator.context import Context, draw_context
from trimtab.sessions.simulator.drift import named
from trimtab.sessions.simulator.mechanisms import draw_noise, propagate
from trimtab.sessions.simulator.outcome import (
    Outcome,
    draw_value,
    loyalty_log_odds,
    probability,
    static_log_odds,
    treatment_log_odds,
)
from trimtab.sessions.simulator.population import SECONDS_PER_DAY, Users, draw_users, utc_seconds_of_day
from trimtab.sessions.simulator.reporting import report
from trimtab.sessions.simulator.simulation import WorldConfig
from trimtab.sessions.simulator.visits import attribute_values, input_columns, session_ids, timestamps, user_ids

USERS_FILE, WORLD_FILE = "users.parquet", "world.json"
NEXT_VISITS_DAYS = 7


@dataclass(frozen=True, slots=True)
class History:
    """What each user did so far, one entry per user.

    Attributes:
        sessions: Visits.
        conversions: Visits that converted.
        last_seconds: Start of the last visit, in UTC seconds since 1970.
    """

    sessions: npt.NDArray[np.int64]
    conversions: npt.NDArray[np.int64]
    last_seconds: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Visits:
    """Visits as the app sees them when it asks a model, and the truth about each.

    Attributes:
        frame: `session_id`, `user_id`, `started_at`, attributes and request-time KPIs, in time order.
        p_control: True probability to convert without the action, shape [visits].
        p_treated: True probability to convert with it, shape [visits].
        value: What the visit brings in if it converts, shape [visits].
        user: Number of each visit's user in the world.
        seconds: Start of each visit in UTC seconds since 1970.
    """

    frame: pd.DataFrame
    p_control: Array
    p_treated: Array
    value: Array
    user: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class World:
    """Users, their histories, and the time.

    Attributes:
        config: How the world was simulated.
        users: Lasting traits.
        history: What the users did so far.
        now_seconds: The time up to which the world was played, in UTC seconds since 1970.
    """

    config: WorldConfig
    users: Users
    history: History
    now_seconds: int

    def next_visits(
        self, users: int, rng: np.random.Generator, *, drift: str = "none", new_user_share: float = 0.2
    ) -> Visits:
        """The next visit of some users, within the following week.

        Args:
            users: How many users visit, once each.
            rng: Randomness; the world itself does not change.
            drift: Name of what changed in the world since.
            new_user_share: Share of visitors who were never here. Where the world has too few users to
                return, more are new.

        Returns:
            The visits, in time order, without outcomes: the action that the app takes decides those.

        Raises:
            BadInput: No users, a share outside [0, 1], or no such drift.
        """
        if users < 1:
            raise BadInput(f"users is {users}, but at least 1 is needed.")
        if not 0 <= new_user_share <= 1:
            raise BadInput(f"new_user_share is {new_user_share}, but it must lie between 0 and 1.")
        change = named(drift)
        who, traits = self._visitors(rng, users, users - round(users * new_user_share))
        seconds = self._times(rng, traits)
        order = np.lexsort((who, seconds))
        who, traits, seconds = who[order], traits.take(order), seconds[order]
        sessions, conversions, last = self._history_of(who)
        context = draw_context(
            rng,
            traits,
            seconds=seconds,
            prior_sessions=sessions,
            days_since_last=((seconds - last) / SECONDS_PER_DAY).astype(np.float32),
            drift=change,
        )
        kpis = propagate(context, draw_noise(rng, users), scale=change.scale)
        outcome = Outcome().drifted(change.concept)
        log_odds = static_log_odds(outcome, context, kpis) + loyalty_log_odds(outcome, conversions)
        return Visits(
            frame=self._frame(who, context, report(rng, context, kpis, change)),
            p_control=probability(log_odds),
            p_treated=probability(log_odds + treatment_log_odds(outcome, context, kpis)),
            value=draw_value(rng, context),
            user=who,
            seconds=seconds,
        )

    def save(self, folder: Path) -> None:
        """Write the world to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        columns = {**_columns(self.users), **_columns(self.history)}
        pq.write_table(pa.table(columns), folder / USERS_FILE, compression="zstd")
        body = {"config": asdict(self.config), "now_seconds": self.now_seconds}
        (folder / WORLD_FILE).write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))

    @classmethod
    def load(cls, folder: Path | str) -> "World":
        """Read a world that `save` wrote.

        Raises:
            NotFound: The folder holds no world.
        """
        path = Path(folder)
        if not (path / WORLD_FILE).is_file() or not (path / USERS_FILE).is_file():
            raise NotFound(f"folder '{path}' holds no simulated world.", remedy="Make one with `trimtab simulate`.")
        body = orjson.loads((path / WORLD_FILE).read_bytes())
        table = pq.read_table(path / USERS_FILE)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        return cls(
            config=WorldConfig(**body["config"]),
            users=Users(**{name: columns[name] for name in Users.__dataclass_fields__}),
            history=History(**{name: columns[name] for name in History.__dataclass_fields__}),
            now_seconds=body["now_seconds"],
        )

    def _visitors(self, rng: np.random.Generator, users: int, returning: int) -> tuple[npt.NDArray[np.int64], Users]:
        """Numbers and traits of visitors: known users by their visits so far (Gumbel top-k), the rest new."""
        known = len(self.users)
        keys = np.log(self.history.sessions) + rng.gumbel(size=known)
        back = np.sort(np.argsort(-keys, kind="stable")[:returning])
        fresh = users - len(back)
        who = np.concatenate([back, np.arange(known, known + fresh)])
        return who, _append(self.users.take(back), draw_users(rng, fresh))

    def _times(self, rng: np.random.Generator, traits: Users) -> npt.NDArray[np.int64]:
        """Times in the coming days, whole days plus the local rhythm."""
        midnight = (self.now_seconds // SECONDS_PER_DAY + 1) * SECONDS_PER_DAY
        days = rng.integers(0, NEXT_VISITS_DAYS, len(traits)) * SECONDS_PER_DAY
        return midnight + days + utc_seconds_of_day(rng, traits.country).astype(np.int64)

    def _history_of(self, who: npt.NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """Sessions, conversions and last start of users by number; nothing (NaN for the start) where new."""
        known = who < len(self.users)
        row = np.where(known, who, 0)
        return (
            np.where(known, self.history.sessions[row], 0).astype(np.float32),
            np.where(known, self.history.conversions[row], 0).astype(np.float32),
            np.where(known, self.history.last_seconds[row].astype(np.float64), np.nan),
        )

    def _frame(self, who: npt.NDArray[np.int64], context: Context, kpis: dict[str, Array]) -> pd.DataFrame:
        columns = {
            "session_id": session_ids(int(self.history.sessions.sum()), len(who)),
            "user_id": user_ids(who),
            "started_at": timestamps(context.seconds),
            **input_columns(attribute_values(context), kpis),
        }
        return pa.table(columns).to_pandas()


def _columns(record: Users | History) -> dict[str, npt.NDArray[np.generic]]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _append(first: Users, second: Users) -> Users:
    parts = (_columns(first), _columns(second))
    return Users(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
