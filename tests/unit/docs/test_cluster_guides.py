"""What the guides to a cluster say is so: their values render, their arithmetic is right, their accounts are all."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.rendering import SHAPES, containers, find, render, shape
from trimtab.profile import shipped_profiles

DOCS = Path(__file__).parents[3] / "docs"
INSTALL, OPERATIONS, SECURITY = (
    (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("install", "operations", "security")
)


def _accounts() -> set[str]:
    return {one["metadata"]["name"] for name in SHAPES for one in find(render(shape(name)), "ServiceAccount")}


def test_the_values_of_the_guide_render() -> None:
    first, second = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", INSTALL, re.DOTALL))
    together: dict[str, Any] = {**first, **second, "router": {**first["router"], **second["router"]}}
    assert find(render(first), "HTTPRoute")
    assert [one for one in find(render(together), "Job") if "-rollout-checkout-v4" in one["metadata"]["name"]]


def _variables(path: Path) -> dict[str, str]:
    """As `kubectl create secret --from-env-file` reads them."""
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: value for name, _, value in pairs}


def test_the_guide_s_secrets_are_what_the_profile_needs_and_arms_get_three_of_them(tmp_path: Path) -> None:
    [block] = [one for one in re.findall(r"```bash\n(.*?)```", INSTALL, re.DOTALL) if "<<END" in one]
    environment = {**os.environ, "RELEASE": "runs", "ARMS": "models"}
    subprocess.run(["sh", "-euc", block.split("\nkubectl")[0]], cwd=tmp_path, env=environment, check=True)
    found, arms = _variables(tmp_path / "trimtab.env"), _variables(tmp_path / "arms.env")
    needed = set(re.findall(r"\$\{(\w+)\}", shipped_profiles()["cluster"].read_text(encoding="utf-8")))
    assert needed | {"TRIMTAB_PSEUDONYM_KEY", "MLFLOW_BACKEND_STORE_URI"} == found.keys() == arms.keys()
    assert found["MLFLOW_TRACKING_URI"] == "http://trimtab-mlflow.runs:5000"
    [generated] = [one["stringData"] for one in find(render(shape("embedded")), "Secret", "-arms")]
    given = {name for name, value in arms.items() if value}
    assert given == {name for name, value in generated.items() if value}
    assert all(arms[name] == found[name] for name in given)


def test_the_guide_names_secrets_accounts_and_containers_that_the_chart_reads() -> None:
    values = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", INSTALL, re.DOTALL)[0])
    objects = render(values)
    named = set(re.findall(r"create secret generic ([\w-]+)", INSTALL)) - {"model-reader"}  # KServe reads that one
    everything = json.dumps(objects)
    assert named == {"trimtab-environment", "trimtab-secrets", "trimtab-arms"}
    assert all(f'"{name}"' in everything for name in (*named, "model-reader"))
    [job] = find(objects, "Job", "-schedule-nightly")
    assert f"job/{job['metadata']['name']}" in INSTALL
    assert [one["name"] for one in job["spec"]["template"]["spec"]["containers"]] == ["command"]


def test_what_the_guide_sets_beside_the_embedded_shape_is_a_value_and_pulls_only_our_images_from_there() -> None:
    [block] = [one for one in re.findall(r"```bash\n(.*?)```", INSTALL, re.DOTALL) if "embedded-values" in one]
    values: dict[str, Any] = shape("embedded")
    for path, value in re.findall(r"--set ([\w.]+)=(\S+)", block):
        *parents, last = path.split(".")
        inner = values
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = value.strip('"')
    values["serving"]["namespace"] = "models"
    for where, container in containers(render(values)):
        ours = "trimtab/" in container["image"]
        assert container["image"].startswith("registry.example.com/") == ours, where


def test_the_guide_s_patch_makes_whoever_fetches_models_as_confined_as_the_release_s_pods() -> None:
    initialiser, account = (json.loads(one) for one in re.findall(r"--patch '(.*?)'", INSTALL, re.DOTALL))
    given = initialiser["spec"]["container"]["securityContext"]
    _, container = next(iter(containers(find(render(), "Deployment", "-router"))))
    ours = {key: value for key, value in container["securityContext"].items() if key != "readOnlyRootFilesystem"}
    assert ours.items() <= given.items()
    assert account == {"secrets": [{"name": "model-reader"}]}


def test_every_account_is_explained_and_no_other() -> None:
    table = SECURITY.split("## Service accounts")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == _accounts()


def test_every_alert_is_explained_and_no_other() -> None:
    [rule] = find(render(shape("standard")), "PrometheusRule")
    alerts = {alert["alert"] for group in rule["spec"]["groups"] for alert in group["rules"]}
    assert set(re.findall(r"^\| `(Trimtab\w+)` \|", OPERATIONS, re.MULTILINE)) == alerts


@pytest.fixture
def inputs() -> dict[str, float]:
    """The figures that the capacity plan starts from."""
    return {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", OPERATIONS, re.MULTILINE)}


def test_a_million_predictions_cost_what_the_guide_says(inputs: dict[str, float]) -> None:
    seconds = inputs["router_us"] + inputs["arm_us"]
    hours = seconds / inputs["target"] / 3600
    said = " ".join(OPERATIONS.split("**A million predictions**")[1].split("\n\n")[0].split())
    assert f"{seconds:.0f} CPU seconds" in said
    assert f"{seconds / inputs['target']:.0f} s of cores" in said
    assert f"{hours:.3f} core hours" in said
    assert f"{hours * inputs['core_hour']:.3f} for computing" in said
    assert f"{inputs['event_bytes']:.0f} MB in the object store" in said


def test_the_cores_for_a_rate_are_those_of_the_formula(inputs: dict[str, float]) -> None:
    rows = re.findall(
        r"^\| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| (\d+)[^|]*\| ([\d,]+) million \|$", OPERATIONS, re.MULTILINE
    )
    assert len(rows) == 4
    for rate, routers, arms, pods, events in rows:
        requests = float(rate.replace(",", ""))
        cores = requests * inputs["router_us"] / 1e6 / inputs["target"]
        assert float(routers) == pytest.approx(cores, abs=0.06)
        assert float(arms) == pytest.approx(requests * inputs["arm_us"] / 1e6 / inputs["target"], abs=0.06)
        assert int(pods) == max(2, -(-cores // 2))
        assert float(events.replace(",", "")) == pytest.approx(requests * 86_400 / 1e6, abs=0.6)
