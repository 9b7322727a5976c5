import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
IMAGES = ROOT / "images"


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), IMAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


requirements = _script("requirements")
gaudi = _script("gaudi/install")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\ndependencies = ["numpy>=2.0", "pandas>=2.3,<3"]\n'
        '[project.optional-dependencies]\ntrain = ["torch==2.13.0", "numpy>=2.0"]\n'
        'features = ["feast[redis]==0.67.0"]\n'
    )
    return path


def test_an_image_asks_for_the_package_and_its_extras_once(project: Path) -> None:
    wanted = requirements.requirements(project, ["train", "features"])
    assert wanted == ["numpy>=2.0", "pandas>=2.3,<3", "torch==2.13.0", "feast[redis]==0.67.0"]


def test_what_the_base_image_brings_is_left_out(project: Path) -> None:
    assert "torch==2.13.0" not in requirements.requirements(project, ["train"], without=["torch"])
    assert requirements.requirements(project, ["features"], without=["Feast"]) == ["numpy>=2.0", "pandas>=2.3,<3"]


def test_an_older_python_gets_no_least_versions(project: Path) -> None:
    assert requirements.requirements(project, ["train"], unpinned=True) == ["numpy", "pandas<3", "torch==2.13.0"]


def test_an_extra_that_is_not_there_is_an_error(project: Path) -> None:
    with pytest.raises(KeyError, match="trian"):
        requirements.requirements(project, ["trian"])


@pytest.mark.parametrize("image", sorted(path.parent.name for path in IMAGES.glob("*/Containerfile")))
def test_each_image_names_extras_that_exist(image: str) -> None:
    text = (IMAGES / image / "Containerfile").read_text()
    named = re.search(r'ARG EXTRAS="([^"]+)"', text)
    assert named is not None
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(named[1].split()) <= set(extras)


@pytest.mark.parametrize("image", sorted(path.parent.name for path in IMAGES.glob("*/Containerfile")))
def test_each_image_runs_as_a_numbered_user_with_labels_and_says_how_its_health_is_known(image: str) -> None:
    final = (IMAGES / image / "Containerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", final, re.MULTILINE)
    for label in ("title", "description", "version", "revision", "licenses"):
        assert f"org.opencontainers.image.{label}=" in final


def test_the_vendors_torch_is_a_constraint_and_the_lock_is_not_asked_about_it() -> None:
    made = gaudi.constraints(
        ["numpy==2.4.6", "torch==2.13.0"],
        {"torch": "2.10.0a0+git1", "habana-torch-plugin": "1.24.0", "numpy": "2.1.0"},
        python=(3, 12),
    )
    assert made == ["habana-torch-plugin==1.24.0", "torch==2.10.0a0+git1", "numpy==2.4.6"]


def test_the_lock_is_not_for_an_older_python() -> None:
    assert gaudi.constraints(["numpy==2.4.6"], {"torch": "2.6.0"}, python=(3, 10)) == ["torch==2.6.0"]
