from pathlib import Path

import pytest

from pipelines.options import OPTIONAL_ENVIRONMENT, REQUIRED_ENVIRONMENT, Options, Toleration
from pipelines.train_job import Fit, train_job
from trimtab.errors import BadInput
from trimtab.testing.crd_schemas import crd_folder, crd_problems

POOLS = {
    "cpu": Options(volume_claim="home"),
    "nvidia": Options(
        accelerator="nvidia", volume_claim="home", tolerations=(Toleration("nvidia.com/gpu", "", "NoSchedule"),)
    ),
    "gaudi": Options(
        accelerator="gaudi",
        volume_claim="home",
        worker_image="trimtab/gaudi-python:1.24",
        environment_secret="trimtab-environment",
        node_selector={"habana.ai/device.name": "gaudi3"},
        tolerations=(Toleration("dedicated", "gaudi", "NoExecute"),),
    ),
}


@pytest.fixture
def folder() -> Path:
    found = crd_folder()
    if found is None:
        pytest.skip("no schemas of custom resources: set TRIMTAB_CRD_DIR")
    return found


@pytest.mark.parametrize("pool", POOLS)
def test_fits_the_schema_of_kubeflow_trainer(pool: str, folder: Path) -> None:
    manifest = train_job(Fit("nightly", "s-1", nodes=2, processes=8), POOLS[pool])
    assert crd_problems(manifest, folder) == []


def test_the_schema_sees_a_misspelt_field(folder: Path) -> None:
    manifest = train_job(Fit("nightly", "s-1"), POOLS["cpu"])
    manifest["spec"]["trainer"]["numProcsPerNode"] = 1
    assert len(crd_problems(manifest, folder)) == 1


def test_each_process_has_a_card_and_their_number_is_said_outright() -> None:
    trainer = train_job(Fit("nightly", "s-1", nodes=2, processes=8), POOLS["gaudi"])["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert trainer["resourcesPerNode"]["limits"] == {"habana.ai/gaudi": 8}
    assert trainer["image"] == "trimtab/gaudi-python:1.24"
    environment = {variable["name"]: variable for variable in trainer["env"]}
    assert environment["PT_HPU_LAZY_MODE"]["value"] == "0"
    assert set(REQUIRED_ENVIRONMENT) < set(environment)
    optional = {
        name
        for name, variable in environment.items()
        if variable.get("valueFrom", {}).get("secretKeyRef", {}).get("optional")
    }
    assert optional == set(OPTIONAL_ENVIRONMENT)


def test_pools_differ_in_card_and_device_alone() -> None:
    jobs = {pool: train_job(Fit("nightly", "s-1", processes=2), options) for pool, options in POOLS.items()}
    devices = {pool: job["spec"]["trainer"]["args"][1] for pool, job in jobs.items()}
    assert devices == {"cpu": "--device=cpu", "nvidia": "--device=cuda", "gaudi": "--device=hpu"}
    assert "resourcesPerNode" not in jobs["cpu"]["spec"]["trainer"]
    assert jobs["nvidia"]["spec"]["trainer"]["resourcesPerNode"]["limits"] == {"nvidia.com/gpu": 2}


def test_the_processes_of_a_node_get_shared_memory() -> None:
    patch = train_job(Fit("nightly", "s-1", processes=8), POOLS["nvidia"])["spec"]["runtimePatches"][0]
    pod = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    mounted = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounted["/dev/shm"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}


def test_refuses_a_fit_without_processes_or_a_shared_volume() -> None:
    with pytest.raises(BadInput, match="processes is 0"):
        Fit("nightly", "s-1", processes=0)
    for name in ("", "Nightly", "../nightly", "nightly-", "n" * 49):
        with pytest.raises(BadInput, match="none that Kubernetes takes"):
            Fit(name, "s-1")
    longest = "n" * 48
    assert len(f"{Fit(longest, 's-1', nodes=10).name}-node-0-9-abcde") == 63
    with pytest.raises(BadInput, match="up to 47"):
        Fit(longest, "s-1", nodes=11)
    with pytest.raises(BadInput, match="shared volume"):
        train_job(Fit("nightly", "s-1"), Options())
