from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest

from trimtab.adapters.feast import FeastFeatureStore
from trimtab.adapters.files import FileSnapshotStore
from trimtab.errors import NotFound
from trimtab.ports import Ports
from trimtab.sessions.inputs import PRIOR_SESSIONS, history_features
from trimtab.sessions.spec import DatasetSpec
from trimtab.steps import features, materialize
from trimtab.testing.feature_store import visits, visits_spec


@dataclass
class LocalPorts:
    """The two ports that these steps use, and a progress that takes notes."""

    root: Path
    heard: list[tuple[str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        folder = self.root / "features"
        self.snapshots = FileSnapshotStore(self.root / "snapshots")
        self.features = FeastFeatureStore(
            folder, registry=f"{folder}/registry.db", online_store=f"sqlite:///{folder}/online.db"
        )

    def progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.heard.append((stage, done, total))


@pytest.fixture
def ports(tmp_path: Path) -> LocalPorts:
    return LocalPorts(tmp_path)


def put(ports: LocalPorts, spec: DatasetSpec) -> tuple[str, pd.DataFrame]:
    sessions = visits(np.random.default_rng(8))[list(spec.columns)]
    return ports.snapshots.put(sessions, spec, source="test", rejected=0).id, sessions


def test_training_file_has_sessions_and_history_in_time_order(ports: LocalPorts) -> None:
    spec = visits_spec()
    snapshot, sessions = put(ports, spec)
    result = features.run(features.Config(snapshot), cast(Ports, ports))
    training = pd.read_parquet(result.path)
    assert Path(result.path) == ports.snapshots.folder(snapshot) / "training.parquet"
    assert result.rows == len(training) == len(sessions)
    assert result.features == history_features(spec)
    assert training.columns.tolist() == [*spec.columns, *history_features(spec)]
    assert training["began"].is_monotonic_increasing
    assert str(training["began"].dt.tz) == "UTC"
    assert training[PRIOR_SESSIONS].max() > 3
    assert ports.heard[-1] == ("features", 3, 3)


def test_materialize_loads_every_unit(ports: LocalPorts) -> None:
    snapshot, sessions = put(ports, visits_spec())
    features.run(features.Config(snapshot), cast(Ports, ports))
    result = materialize.run(materialize.Config(snapshot), cast(Ports, ports))
    assert result.units == sessions["user_id"].nunique()
    assert result.features == 7
    assert result.seconds > 0


def test_data_without_units_pass_through(ports: LocalPorts) -> None:
    columns = {name: column for name, column in visits_spec().columns.items() if name != "user_id"}
    spec = visits_spec("visits_of_nobody").model_copy(update={"columns": columns})
    snapshot, _ = put(ports, spec)
    result = features.run(features.Config(snapshot), cast(Ports, ports))
    assert result.features == ()
    assert pd.read_parquet(result.path).columns.tolist() == list(columns)
    assert materialize.run(materialize.Config(snapshot), cast(Ports, ports)).units == 0


def test_materialize_before_features_says_what_to_run(ports: LocalPorts) -> None:
    snapshot, _ = put(ports, visits_spec())
    with pytest.raises(NotFound) as caught:
        materialize.run(materialize.Config(snapshot), cast(Ports, ports))
    assert "features step" in caught.value.remedy


def test_unknown_snapshot_is_named(ports: LocalPorts) -> None:
    with pytest.raises(NotFound, match="0000000000000000"):
        features.run(features.Config("0000000000000000"), cast(Ports, ports))
