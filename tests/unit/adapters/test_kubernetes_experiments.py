"""What the controller writes into a ModelExperiment, and what it leaves to others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab.adapters.kubernetes import Objects, connect, log_in
from trimtab.adapters.kubernetes_experiments import EXPERIMENTS, KubernetesExperiments
from trimtab.errors import BadInput, NotFound
from trimtab.testing.kubernetes_double import KubernetesDouble, kubernetes_double

COMMAND = {"trimtab.dev/command": "promote", "trimtab.dev/by": "ann"}


@pytest.fixture
def cluster() -> Iterator[KubernetesDouble]:
    with kubernetes_double() as found:
        yield found


@pytest.fixture
def resources(cluster: KubernetesDouble, tmp_path: Path) -> KubernetesExperiments:
    api = connect(kubeconfig=str(cluster.kubeconfig(tmp_path / "config")))
    found = KubernetesExperiments(
        Objects(api, EXPERIMENTS, namespace="default", pause_seconds=0.01), namespace="default"
    )
    found.apply({"metadata": {"name": "checkout", "annotations": {"team": "shop", **COMMAND}}, "spec": {"model": "m"}})
    return found


def test_a_status_is_written_apart_and_what_is_none_goes(resources: KubernetesExperiments) -> None:
    resources.report("checkout", {"phase": "Ramping", "effect": {"low": 1, "high": 2}})
    resources.report("checkout", {"step": "1/2", "effect": {"low": None}})
    found = resources.get("checkout")
    assert found["status"] == {"phase": "Ramping", "step": "1/2", "effect": {"high": 2}}
    assert found["spec"] == {"model": "m"}


def test_a_command_is_taken_off_and_the_rest_stays(resources: KubernetesExperiments) -> None:
    resources.take_off("checkout", COMMAND)
    assert resources.get("checkout")["metadata"]["annotations"] == {"team": "shop"}


def test_a_later_command_is_not_taken_off_for_the_one_before(resources: KubernetesExperiments) -> None:
    resources.annotate("checkout", {"trimtab.dev/command": "abort"})
    resources.take_off("checkout", COMMAND)
    assert resources.get("checkout")["metadata"]["annotations"]["trimtab.dev/command"] == "abort"


def test_a_rival_s_write_is_read_before_a_command_is_taken_off(
    resources: KubernetesExperiments, cluster: KubernetesDouble
) -> None:
    cluster.rivals = 1
    resources.take_off("checkout", COMMAND)
    assert resources.get("checkout")["metadata"]["annotations"] == {"team": "shop", "rival": "0"}


def test_what_is_gone_or_refused_says_so(resources: KubernetesExperiments, cluster: KubernetesDouble) -> None:
    with pytest.raises(NotFound):
        resources.report("other", {"phase": "Ramping"})
    with pytest.raises(NotFound):
        resources.take_off("other", COMMAND)
    cluster.forbidden = {("patch", "modelexperiments")}
    with pytest.raises(BadInput, match="may not patch modelexperiments"):
        resources.report("checkout", {"phase": "Ramping"})


def test_another_client_s_login_is_that_of_the_kubeconfig(cluster: KubernetesDouble, tmp_path: Path) -> None:
    found = log_in(kubeconfig=str(cluster.kubeconfig(tmp_path / "other")))
    assert (found.server, found.authorization, found.ca_file) == (cluster.url, "Bearer secret", "")
    assert "secret" not in repr(found)


def test_the_context_decides_whose_login_it_is(cluster: KubernetesDouble, tmp_path: Path) -> None:
    path = cluster.kubeconfig(tmp_path / "other")
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["users"].append({"name": "robot", "user": {"token": "machine"}})
    document["contexts"].append({"name": "robots", "context": {"cluster": "double", "user": "robot"}})
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert log_in(kubeconfig=str(path), context="robots").authorization == "Bearer machine"
