"""Experiments in a cluster from the command line, against a double of the Kubernetes API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from trimtab.cli import main
from trimtab.rollout.resource import read_resource
from trimtab.testing.kubernetes_double import KubernetesDouble, kubernetes_double

PLAN = Path(__file__).parents[3] / "examples" / "rollout" / "better.yaml"
KEY = ("modelexperiments", "default", "better")


@pytest.fixture
def cluster() -> Iterator[KubernetesDouble]:
    with kubernetes_double() as found:
        yield found


@pytest.fixture(autouse=True)
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: KubernetesDouble) -> str:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    path = tmp_path / "profile.yaml"
    shipped = yaml.safe_load(Path("trimtab/profiles/local.yaml").read_text(encoding="utf-8"))
    config = str(cluster.kubeconfig(tmp_path / "config"))
    path.write_text(yaml.safe_dump({**shipped, "deployer": {"kind": "kserve", "kubeconfig": config}}), encoding="utf-8")
    monkeypatch.setenv("TRIMTAB_PROFILE", str(path))
    return str(path)


@pytest.fixture
def resource(tmp_path: Path) -> Path:
    path = tmp_path / "better.yaml"
    spec = {
        "model": "shop",
        "plannedUnits": 4_000,
        "windowHours": 24,
        "ramp": [{"weight": 0.5}],
        "experiment": {"metrics": {"conversion": {"kind": "binary", "column": "conversion"}}},
    }
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelExperiment", "metadata": {"name": "better"}}
    path.write_text(yaml.safe_dump({**body, "spec": spec}), encoding="utf-8")
    return path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["experiment", *arguments])
    return int(left.value.code or 0)


def ramping(cluster: KubernetesDouble, **status: Any) -> None:
    found = cluster.objects[KEY]
    look = {
        "number": 1,
        "time": "2026-03-01T00:00:00Z",
        "fraction": 0.2,
        "statistic": 1.4,
        "goodBound": 4.9,
        "lift": 0.03,
    }
    known: dict[str, Any] = {
        "phase": "Ramping",
        "step": "1/2",
        "weight": 0.25,
        "verdict": "hold",
        "lift": "+3.0%",
        "controlVersion": 1,
        "treatmentVersion": 2,
        "reasons": ["The step has enrolled 10 of 200 units."],
        "looks": [look],
        "nextLook": {"units": 400, "known": 200, "notBefore": "2026-03-02T00:00:00Z"},
        "arms": [{"name": "control", "version": 1, "url": "http://a"}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "Unavailable", "message": "no node"}],
    }  # fmt: skip
    cluster.store("modelexperiments", {**found, "status": {**known, **status}})


def test_applies_a_resource_and_changes_it(
    cluster: KubernetesDouble, resource: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("apply", str(resource)) == 0
    assert "in namespace 'default'" in capsys.readouterr().out
    cluster.objects[KEY]["metadata"]["finalizers"] = ["trimtab.dev/drain"]
    resource.write_text(resource.read_text().replace("windowHours: 24", "windowHours: 48"), encoding="utf-8")
    assert run("apply", str(resource), "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["spec"]["windowHours"] == 48
    assert cluster.objects[KEY]["metadata"]["finalizers"] == ["trimtab.dev/drain"]


def test_a_rollout_plan_becomes_a_resource(cluster: KubernetesDouble) -> None:
    assert run("apply", str(PLAN)) == 0
    [body] = [found for key, found in cluster.objects.items() if key[0] == "modelexperiments"]
    assert read_resource(body).plan.name == yaml.safe_load(PLAN.read_text())["name"]


def test_what_the_controller_would_refuse_is_not_sent(
    cluster: KubernetesDouble, resource: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource.write_text(resource.read_text().replace("windowHours", "window_hours"), encoding="utf-8")
    assert run("apply", str(resource)) == 2
    assert "'window_hours' is written 'windowHours'" in capsys.readouterr().err
    assert cluster.objects == {}


def test_a_file_without_a_name_or_of_another_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "pod.yaml"
    other.write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")
    assert run("apply", str(other)) == 2
    assert "v1 Pod 'a' is no experiment" in capsys.readouterr().err
    other.write_text("apiVersion: trimtab.dev/v1alpha1\nkind: ModelExperiment\n")
    assert run("apply", str(other)) == 2
    assert "no metadata.name" in capsys.readouterr().err
    assert run("apply", str(tmp_path / "absent.yaml")) == 2


def test_lists_what_is_there(cluster: KubernetesDouble, resource: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("get") == 0
    assert "No experiment is in namespace 'default'" in capsys.readouterr().out
    run("apply", str(resource))
    capsys.readouterr()
    assert run("get") == 0
    assert "not seen yet" in capsys.readouterr().out
    ramping(cluster)
    assert run("get") == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row == ["better", "shop", "Ramping", "1/2", "hold", "+3.0%", "Unavailable"]
    assert run("get", "better", "--json") == 0
    assert orjson.loads(capsys.readouterr().out)["status"]["phase"] == "Ramping"


def test_describes_one(cluster: KubernetesDouble, resource: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("apply", str(resource))
    ramping(cluster)
    capsys.readouterr()
    assert run("describe", "better") == 0
    told = capsys.readouterr().out
    for part in (
        "Ramping 1/2",
        "version 2 against 1; treatment at 25%, 4,000 units planned",
        "enrolled 10 of 200",
        "200 of 400 units are known, not before 2026-03-02",
        "Ready Unavailable  no node",
        "control: version 1 at http://a",
        "4.90",
    ):
        assert part in told


def test_aborts_by_annotation(cluster: KubernetesDouble, resource: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("apply", str(resource))
    assert run("abort", "better", "--why", "wrong prices", "--who", "ann") == 0
    annotations = cluster.objects[KEY]["metadata"]["annotations"]
    assert annotations == {
        "trimtab.dev/command": "abort",
        "trimtab.dev/reason": "wrong prices",
        "trimtab.dev/by": "ann",
    }
    ramping(cluster, phase="Shipped", conditions=[{"type": "Decided", "status": "True"}])
    assert run("abort", "better", "--why", "late") == 2
    assert "has ended: Shipped" in capsys.readouterr().err


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (("get", "absent"), ("describe", "absent"), ("abort", "absent", "--why", "x")):
        assert run(*command) == 2
        assert "no ModelExperiment 'absent' in namespace 'default'" in capsys.readouterr().err


def test_a_cluster_without_the_definition(cluster: KubernetesDouble, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.plurals.remove("modelexperiments")
    assert run("get") == 2
    assert "the chart trimtab-crds is not installed" in capsys.readouterr().err


def test_rights_that_are_missing(cluster: KubernetesDouble, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.forbidden = {("list", "modelexperiments")}
    assert run("get") == 2
    assert "may not list modelexperiments in namespace 'default'" in capsys.readouterr().err


def test_no_cluster(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    body = yaml.safe_load(Path(profile).read_text())
    body["deployer"]["kubeconfig"] = "/nowhere"
    Path(profile).write_text(yaml.safe_dump(body))
    assert run("get") == 2
    assert "no Kubernetes cluster is configured" in capsys.readouterr().err
