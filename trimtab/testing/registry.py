"""What every `Registry` must do: subclass the suite and give it a `registry`, a `tracker` and a `bundle` fixture."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.adapters.mlflow import MlflowTracker
from trimtab.errors import BadInput, NotFound
from trimtab.ports import Registry, Tracker
from trimtab.types import ModelVersion

EXAMPLE = pd.DataFrame({"lcp_ms": [1200.0, np.nan], "device": ["mobile", None], "seen": [1.0, 2.0]})


def mlflow_database(folder: Path) -> str:
    """URI of an empty tracking database; the schema is migrated once per process, and copied."""
    (folder / "mlflow.db").write_bytes(_empty_database())
    return f"sqlite:///{folder}/mlflow.db"


@cache
def _empty_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tracker = MlflowTracker(f"sqlite:///{folder}/mlflow.db", artifact_root=f"file://{folder}")
        with tracker.run("migrate", experiment="migrate"):
            pass
        return (Path(folder) / "mlflow.db").read_bytes()


def register_version(registry: Registry, tracker: Tracker, bundle: Path, *, name: str = "shop") -> ModelVersion:
    """A version with a tag and a metric."""
    with tracker.run("train", experiment=name) as run:
        return registry.register(
            name, bundle, run_id=run.id, example=EXAMPLE, tags={"gate": "passed"}, metrics={"auc": 0.8}
        )


class RegistryContract:
    """The suite."""

    @pytest.fixture
    def registry(self) -> Registry:
        """The registry under test; empty."""
        raise NotImplementedError

    @pytest.fixture
    def tracker(self) -> Tracker:
        """A tracker that the registry shares runs with."""
        raise NotImplementedError

    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Path:
        """A folder with a nested file, under a name of its own."""
        folder = tmp_path / "plr_mlp"
        (folder / "inner").mkdir(parents=True)
        (folder / "model.json").write_text("{}")
        (folder / "inner" / "weights.bin").write_bytes(b"\x00\x01")
        return folder

    def test_registers_versions_without_an_alias(self, registry: Registry, tracker: Tracker, bundle: Path) -> None:
        """Numbers count up, tags and metrics come back, and nothing is champion by itself."""
        first, second = (register_version(registry, tracker, bundle) for _ in range(2))
        assert (first.version, second.version) == (1, 2)
        assert first.aliases == ()
        assert first.tags["gate"] == "passed"
        assert first.metrics == {"auc": 0.8}
        assert first.created_at is not None
        assert first.created_at.tzinfo is not None

    def test_gives_the_bundle_back_as_a_folder(self, registry: Registry, tracker: Tracker, bundle: Path) -> None:
        """Whatever the folder was called, its files come back by the same relative paths, as often as asked."""
        version = register_version(registry, tracker, bundle)
        for _ in range(2):
            folder = registry.download(registry.resolve("shop", "1"))
            assert (folder / "model.json").read_text() == "{}"
            assert (folder / "inner" / "weights.bin").read_bytes() == b"\x00\x01"
        assert folder == registry.download(version)

    def test_a_version_does_not_change_with_its_source(
        self, registry: Registry, tracker: Tracker, bundle: Path
    ) -> None:
        """The bundle is copied, so that training again does not alter what is served."""
        version = register_version(registry, tracker, bundle)
        (bundle / "model.json").write_text('{"changed": true}')
        assert (registry.download(version) / "model.json").read_text() == "{}"

    def test_moves_an_alias(self, registry: Registry, tracker: Tracker, bundle: Path) -> None:
        """An alias is at one version at a time, and may be removed twice."""
        for _ in range(2):
            register_version(registry, tracker, bundle)
        registry.set_alias("shop", "champion", 1)
        assert registry.resolve("shop", "champion").version == 1
        registry.set_alias("shop", "champion", 2)
        assert registry.resolve("shop", "champion").version == 2
        assert registry.resolve("shop", "1").aliases == ()
        assert registry.resolve("shop", "2").aliases == ("champion",)
        for _ in range(2):
            registry.delete_alias("shop", "champion")
        with pytest.raises(NotFound, match="champion"):
            registry.resolve("shop", "champion")

    def test_replaces_tags(self, registry: Registry, tracker: Tracker, bundle: Path) -> None:
        """A tag that is set again has the new value; others stay."""
        register_version(registry, tracker, bundle)
        registry.set_tags("shop", 1, {"previous_champion": "0"})
        registry.set_tags("shop", 1, {"previous_champion": "7"})
        assert registry.resolve("shop", "1").tags == {"gate": "passed", "previous_champion": "7"}

    def test_lists_newest_first(self, registry: Registry, tracker: Tracker, bundle: Path) -> None:
        """Of one model or of all; nothing for a model that nobody registered."""
        for name in ("shop", "shop", "other"):
            register_version(registry, tracker, bundle, name=name)
        assert [version.version for version in registry.versions("shop")] == [2, 1]
        assert {(version.name, version.version) for version in registry.versions()} == {
            ("shop", 1), ("shop", 2), ("other", 1),
        }  # fmt: skip
        assert registry.versions("nothing") == []

    def test_says_what_does_not_exist(self, registry: Registry, tracker: Tracker, bundle: Path) -> None:
        """A version, an alias, a model, a run."""
        with pytest.raises(NotFound, match="nothing"):
            registry.resolve("nothing", "champion")
        register_version(registry, tracker, bundle)
        with pytest.raises(NotFound, match="9"):
            registry.resolve("shop", "9")
        with pytest.raises(NotFound, match="9"):
            registry.set_alias("shop", "champion", 9)
        with pytest.raises(NotFound, match="9"):
            registry.set_tags("shop", 9, {"a": "b"})
        with pytest.raises(NotFound, match="no-such-run"):
            registry.register("shop", bundle, run_id="no-such-run", example=EXAMPLE, tags={}, metrics={})

    def test_refuses_a_bundle_that_is_not_there(self, registry: Registry, tracker: Tracker, tmp_path: Path) -> None:
        """And registers nothing."""
        with pytest.raises(BadInput, match="absent"):
            register_version(registry, tracker, tmp_path / "absent")
        assert registry.versions("shop") == []
