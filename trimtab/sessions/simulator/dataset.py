"""A simulated data set: sessions, the truth about them, and the world that they came from, in one folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from trimtab.errors import BadInput
from trimtab.sessions.simulator.catalogue import spec
from trimtab.sessions.simulator.population import SECONDS_PER_DAY, Users
from trimtab.sessions.simulator.simulation import Block, WorldConfig, simulate_blocks
from trimtab.sessions.simulator.truth import Truth, tell_truth
from trimtab.sessions.simulator.visits import Sessions, join, oracle_table, sessions_table
from trimtab.sessions.simulator.world import History, World
from trimtab.sessions.spec import dump_spec

SESSIONS_FILE, ORACLE_FILE, TRUTH_FILE, SPEC_FILE = "sessions.parquet", "oracle.parquet", "truth.json", "spec.yaml"


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulation made.

    Attributes:
        sessions: The sessions, in time order.
        truth: What is true about them.
        world: The world that they came from.
    """

    sessions: Sessions
    truth: Truth
    world: World


def _silent(done: int, total: int) -> None:
    """Report progress to nobody."""


def simulate(
    config: WorldConfig, *, progress: Callable[[int, int], None] = _silent, workers: int | None = None
) -> Simulation:
    """Simulate a shop's sessions.

    Args:
        config: What to simulate; equal configurations give equal results.
        progress: Hears sessions finished and in all.
        workers: Threads; one per core where None. Changes nothing but the time that it takes.
    """
    first: Block | None = None
    parts, users, histories, finished = [], [], [], 0
    for block in simulate_blocks(config, workers=workers):
        first = first or block
        parts.append(block.sessions)
        users.append(block.users)
        histories.append(_history(block))
        finished += len(block.sessions)
        progress(finished, config.sessions)
    assert first is not None
    sessions = join(parts).in_time_order()
    world = World(
        config=config,
        users=Users(*(np.concatenate([getattr(u, name) for u in users]) for name in Users.__dataclass_fields__)),
        history=History(
            *(np.concatenate([getattr(h, name) for h in histories]) for name in History.__dataclass_fields__)
        ),
        now_seconds=config.start_seconds + config.days * SECONDS_PER_DAY,
    )
    return Simulation(sessions, tell_truth(config, sessions, first, users=len(world.users)), world)


def write(simulation: Simulation, folder: Path, *, csv: bool = False) -> None:
    """Write `sessions.parquet`, `oracle.parquet`, `truth.json`, `spec.yaml` and the world.

    Args:
        simulation: What to write.
        folder: Made where absent; files of the same names are replaced.
        csv: Whether to write `sessions.csv` too.

    Raises:
        BadInput: The folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot make folder '{folder}': {error.strerror}.", remedy="Name another folder.") from error
    table = sessions_table(simulation.sessions)
    _write_parquet(table, folder / SESSIONS_FILE)
    _write_parquet(oracle_table(simulation.sessions), folder / ORACLE_FILE)
    if csv:
        pyarrow.csv.write_csv(table, folder / "sessions.csv")
    (folder / TRUTH_FILE).write_bytes(orjson.dumps(simulation.truth, option=orjson.OPT_INDENT_2))
    (folder / SPEC_FILE).write_text(dump_spec(spec()), encoding="utf-8")
    simulation.world.save(folder)


def _history(block: Block) -> History:
    """Where a block's users stand after their last visit."""
    last = np.flatnonzero(np.diff(block.plan.user, append=-1))
    return History(
        sessions=block.plan.index[last] + 1,
        conversions=(block.prior_conversions[last] + block.sessions.converted[last]).astype(np.int64),
        last_seconds=block.sessions.seconds[last],
    )


def _write_parquet(table: pa.Table, path: Path) -> None:
    """Whole or not at all. Dictionaries pay for text only; measured values hardly repeat."""
    text = [field.name for field in table.schema if pa.types.is_string(field.type)]
    part = path.with_suffix(".part")
    pq.write_table(table, part, compression="snappy", use_dictionary=text)
    part.replace(path)
