from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import orjson
import pandas as pd
from pydantic import TypeAdapter

from trimtab.ports import Ports
from trimtab.sessions.simulator import Truth, World
from trimtab.steps import simulate


@dataclass
class Listener:
    """The one port that the step uses: it hears progress."""

    heard: list[tuple[int, int]] = field(default_factory=list)

    def progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        assert stage == simulate.STAGE
        self.heard.append((done, total))


def test_the_step_writes_sessions_truth_and_world(tmp_path: Path) -> None:
    listener = Listener()
    config = simulate.Config(out=str(tmp_path / "shop"), sessions=2_000, seed=1, csv=True)
    result = simulate.run(config, cast(Ports, listener))
    assert len(pd.read_parquet(result.data)) == len(pd.read_csv(tmp_path / "shop" / "sessions.csv")) == 2_000
    truth = TypeAdapter(Truth).validate_json(Path(result.truth).read_bytes())
    assert (result.rows, result.users, result.bayes_auc) == (2_000, truth.users, truth.bayes_auc)
    assert len(World.load(result.world).users) == result.users
    assert listener.heard[-1] == (2_000, 2_000)
    assert not list((tmp_path / "shop").glob("*.part"))


def test_the_result_survives_json(tmp_path: Path) -> None:
    config = simulate.Config(out=str(tmp_path), sessions=500, drift="slow_backend")
    result = simulate.run(config, cast(Ports, Listener()))
    assert TypeAdapter(simulate.Result).validate_json(orjson.dumps(result)) == result
    assert result.drift == "slow_backend"
