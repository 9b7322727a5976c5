"""What the loop does after the training pipeline, on a small shop with real models and servers in this process."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import NotFound
from trimtab.models.bundle import ConversionModel
from trimtab.models.gate import Gate
from trimtab.steps import decide, loop, promote, register, results
from trimtab.testing.ports import InProcessArms, StepPorts
from trimtab.testing.shop import shop_model, shop_sessions, shop_spec
from trimtab.types import Endpoint

SPEC = shop_spec()
RUN = "run-1"


class ArmsWithNews(InProcessArms):
    """Arms during whose first request another process registers a newer challenger."""

    ports: StepPorts

    def predict(self, endpoint: Endpoint, instances: pd.DataFrame) -> pd.DataFrame:
        """Answer as a server would."""
        if not self.asked:
            challenger = self.ports.registry.resolve(SPEC.name, "challenger")
            self.ports.registry.put(SPEC.name, 3, Path(challenger.uri), "challenger")
        return super().predict(endpoint, instances)


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StepPorts:
    """A champion that never acts, a challenger that does as its model says, and a gate that let it pass.

    Bundles have relative paths, which name the experiment and so decide who is in which arm: the same in every run.
    """
    monkeypatch.chdir(tmp_path)
    ports = StepPorts(tmp_path)
    rng = np.random.default_rng(4)
    model = shop_model(shop_sessions(rng, SPEC), SPEC, rng=rng)
    lazy = ConversionModel(replace(model.manifest, action_cost=1.0), model.preprocessor, model.network)
    ports.registry.put(SPEC.name, 1, lazy.save(Path("lazy")), "champion")
    ports.registry.put(SPEC.name, 2, model.save(Path("choosy")), "challenger")
    _register(ports, Gate(True, (), ()))
    return ports


def _register(ports: StepPorts, gate: Gate) -> None:
    registered = register.Result(SPEC.name, 2, gate, ("challenger",), "", "")
    results.perform(lambda _config, _ports: registered, None, ports.as_ports(), run=RUN, stage="register")


def _experiment(ports: StepPorts) -> None:
    rng = np.random.default_rng(16)
    sessions = shop_sessions(rng, SPEC, rows=8_000)
    sessions["bought"] = (rng.random(len(sessions)) < np.where(sessions["lighter"] == 1, 0.5, 0.2)).astype(int)
    snapshot = ports.snapshots.put(sessions, SPEC, source="shop.csv", rejected=0)
    config = loop.Config(RUN, data="shop.csv", spec="shop")
    loop._experiment(config, ports.as_ports(), snapshot_id=snapshot.id, model=SPEC.name, world="")


def test_promotes_the_version_that_was_served_whoever_is_challenger_by_then(ports: StepPorts) -> None:
    ports.arms = ArmsWithNews()
    ports.arms.ports = ports
    _experiment(ports)
    verdict = results.recall(decide.Result, ports.as_ports(), run=RUN, stage="decide").result
    assert verdict.decision == "ship", verdict.reasons
    moved = results.recall(promote.Result, ports.as_ports(), run=RUN, stage="promote").result
    assert (moved.champion_before, moved.champion_after) == (1, 2)
    assert ports.registry.resolve(SPEC.name, "champion").version == 2
    assert ports.registry.resolve(SPEC.name, "challenger").version == 3


def test_a_version_that_failed_the_gate_meets_no_user(ports: StepPorts) -> None:
    _register(ports, Gate(False, (), ("it is not calibrated.",)))
    _experiment(ports)
    assert ports.arms.asked == []
    assert ports.registry.resolve(SPEC.name, "champion").version == 1
    with pytest.raises(NotFound, match="did not pass the quality gate"):
        results.recall(promote.Result, ports.as_ports(), run=RUN, stage="promote")


def test_the_command_of_a_run_can_be_pasted() -> None:
    config = loop.Config("r", data="my sessions.csv", spec="shop", device="cpu")
    assert config.report.command.startswith("trimtab run --data 'my sessions.csv' --spec shop --users 30000 ")
    assert config.report.command.endswith(" --device cpu")
    assert loop.Config("r").report.command == "trimtab run --sessions 80000 --users 30000 --trials 12 --seed 7"


def test_a_model_without_a_champion_does_not_stop_the_watch(ports: StepPorts) -> None:
    assert loop.judged_model(SPEC.name, ports.as_ports()) == SPEC.name
    ports.registry.delete_alias(SPEC.name, "champion")
    assert not loop.judged_model(SPEC.name, ports.as_ports())
