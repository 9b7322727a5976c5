"""The compiled pipelines, held against files that people have read. `make golden` writes them anew."""

import os
import re
from pathlib import Path

import pytest

from pipelines.compiler import PIPELINES, compile_pipeline
from pipelines.options import Options, Toleration

GOLDEN = Path(__file__).with_name("pipelines")
SHIPPED = Path(__file__).parents[2] / "pipelines" / "compiled"
UPDATE = bool(os.environ.get("TRIMTAB_UPDATE_GOLDEN"))

CASES = {
    "none": Options(),
    "nvidia": Options(
        workers=4,
        accelerator="nvidia",
        node_selector={"cloud.example/accelerator": "l4"},
        tolerations=(Toleration("nvidia.com/gpu", "", "NoSchedule"),),
        environment_secret="trimtab-environment",
        volume_claim="trimtab-home",
    ),
    "gaudi": Options(
        workers=8,
        accelerator="gaudi",
        node_selector={"habana.ai/device.name": "gaudi3", "pool": "training"},
        tolerations=(Toleration("dedicated", "gaudi", "NoExecute"),),
        retries=3,
        worker_image="trimtab/gaudi-python:1.24",
        environment_secret="trimtab-environment",
        volume_claim="trimtab-home",
    ),
}


def _normalised(text: str) -> str:
    """The compiled form without the versions of Trimtab and KFP."""
    text = re.sub(r"trimtab/pipeline-python:[\w.+-]+", "trimtab/pipeline-python:VERSION", text)
    text = re.sub(r"sdkVersion: kfp-[\w.]+", "sdkVersion: kfp-VERSION", text)
    return re.sub(r"kfp==[\w.]+", "kfp==VERSION", text)


@pytest.mark.parametrize("case", CASES)
def test_compiles_as_before(case: str, tmp_path: Path) -> None:
    compiled = _normalised(compile_pipeline("training", CASES[case], tmp_path / "training.yaml").read_text())
    golden = GOLDEN / f"training-{case}.yaml"
    if UPDATE:
        golden.write_text(compiled)
    assert compiled == golden.read_text(), "read the difference; `make golden` accepts it"


@pytest.mark.parametrize("name", PIPELINES)
def test_what_ships_is_what_the_source_compiles_to(name: str, tmp_path: Path) -> None:
    compiled = compile_pipeline(name, Options(), tmp_path / "pipeline.yaml").read_text()
    shipped = SHIPPED / f"{name}.yaml"
    if UPDATE:
        shipped.write_text(compiled)
    assert compiled == shipped.read_text(), "`make golden` compiles it anew"


def test_every_pipeline_ships() -> None:
    assert {path.stem for path in SHIPPED.glob("*.yaml")} == set(PIPELINES)
