"""What the guides to a cluster say is so: their values render, their arithmetic is right, their accounts are all."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.rendering import SHAPES, find, render, shape
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


def test_the_guide_s_secret_has_every_variable_without_a_default() -> None:
    needed = set(re.findall(r"\$\{(\w+)\}", shipped_profiles()["cluster"].read_text(encoding="utf-8")))
    assert needed | {"TRIMTAB_PSEUDONYM_KEY"} <= set(re.findall(r"--from-literal=(\w+)=", INSTALL))


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
