"""A bad value fails at `helm install`, and the message names it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart
from helm_python.errors import HelmError

from tests.charts.rendering import DEFINITIONS, TRIMTAB, find, render, shape
from trimtab.rollout.plan import load_plan


def _closed(schema: Any, path: str = "") -> Iterator[str]:
    """Mappings of the schema that say neither what their keys are nor that any will do."""
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" not in schema:
            yield path
        for key, inner in schema.items():
            yield from _closed(inner, f"{path}/{key}")


ROOT = Path(__file__).parents[2]
PLAN = shape("rollout")["rollouts"]["network-against-logistic"]["plan"]


@pytest.mark.parametrize("chart", [TRIMTAB, DEFINITIONS])
def test_the_schema_is_closed_everywhere(chart: Any) -> None:
    schema = Chart.load(chart).schema
    assert schema is not None
    assert schema["additionalProperties"] is False
    assert list(_closed(schema)) == []


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"routr": {}}, "'routr'"),
        ({"router": {"replica": 3}}, "'replica'"),
        ({"router": {"replicas": "3"}}, "/router/replicas"),
        ({"router": {"replicas": 0}}, "/router/replicas"),
        ({"router": {"resources": {"requests": {"cpu": "one"}}}}, "/router/resources/requests/cpu"),
        ({"router": {"resources": {"requests": {"cpu": -1}}}}, "/router/resources/requests/cpu"),
        ({"router": {"resources": {"request": {}}}}, "'request'"),
        ({"router": {"autoscaling": {"kind": "both"}}}, "/router/autoscaling/kind"),
        ({"router": {"tolerations": [{"effekt": "NoSchedule"}]}}, "'effekt'"),
        ({"router": {"whenUnsatisfiable": "Never"}}, "/router/whenUnsatisfiable"),
        ({"images": {"serving": {"repository": ""}}}, "/images/serving/repository"),
        ({"images": {"serving": {"repository": "a", "digest": "latest"}}}, "/images/serving/digest"),
        ({"environment": {"existingSecret": ""}}, "/environment/existingSecret"),
        ({"serving": {"mode": "Serverless"}}, "/serving/mode"),
        ({"kubeflow": {"auth": "password"}}, "/kubeflow/auth"),
        ({"schedules": {"Nightly Run": {}}}, "Nightly Run"),
        ({"schedules": {"nightly": {"pipeline": "training"}}}, "/schedules/nightly"),
        ({"schedules": {"nightly": {"pipeline": "training", "cron": "daily", "data": "d", "spec": "s"}}},
         "/schedules/nightly/cron"),
        ({"materializations": {"hourly": {"cron": "0 10 * * * *", "spec": "s"}}}, "/materializations/hourly/cron"),
        ({"accelerators": {"pools": {"cpu": {"accelerator": "none", "tolerations": [{"operator": "Exists"}]}}}},
         "/accelerators/pools/cpu/tolerations/0"),
        ({"rollouts": {"v4": {"plan": {**PLAN, "planned_unit": 5}}}}, "'planned_unit'"),
        ({"rollouts": {"v4": {"plan": {**PLAN, "ramp": [{"weight": 1.5}]}}}}, "/rollouts/v4/plan/ramp/0/weight"),
        ({"rollouts": {"v4": {"plan": {**PLAN, "experiment": {"metrics": {"a": {"kind": "share"}}}}}}},
         "/rollouts/v4/plan/experiment/metrics/a/kind"),
        ({"scorings": {"weekly": {"cron": "0 5 * * 1", "data": "d", "model": "shop", "out": "o"}}},
         "/scorings/weekly/model"),
        ({"accelerators": {"pools": {"tpu": {"accelerator": "tpu"}}}}, "/accelerators/pools/tpu/accelerator"),
        ({"networkPolicy": {"redis": {"ports": [], "to": []}}}, "/networkPolicy/redis/ports"),
        ({"networkPolicy": {"redis": {"to": [{"ip": "10.0.0.1"}]}}}, "/networkPolicy/redis"),
        ({"networkPolicy": {"routerFrom": [{"namespaceSelector": {"matchLabel": {"team": "shop"}}}]}}, "'matchLabel'"),
        ({"router": {"extraEnv": [{"name": "A", "valueFrom": {"secretRef": {}}}]}}, "'secretRef'"),
        ({"monitoring": {"serviceMonitor": {"create": True}}}, "/monitoring/serviceMonitor/create"),
        ({"monitoring": {"serviceMonitor": {"interval": "often"}}}, "/monitoring/serviceMonitor/interval"),
        ({"controller": {"everySeconds": 0}}, "/controller/everySeconds"),
        ({"controller": {"logLevel": "debug"}}, "/controller/logLevel"),
        ({"security": {"runAsUser": 0}}, "/security/runAsUser"),
        ({"security": {"privileged": True}}, "'privileged'"),
        ({"home": {"accessModes": ["ReadOnlyMany"]}}, "/home/accessModes"),
    ],
)  # fmt: skip
def test_the_schema_names_the_value(values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmError) as caught:
        render(values)
    assert named in str(caught.value)


@pytest.mark.parametrize("plan", sorted((ROOT / "examples" / "rollout").glob("*.yaml")), ids=lambda plan: plan.stem)
def test_a_plan_that_the_command_line_takes_is_a_value(plan: Path) -> None:
    load_plan(str(plan))
    values = {"router": {"routesFrom": "home"}, "rollouts": {"v4": {"plan": yaml.safe_load(plan.read_text())}}}
    assert [one for one in find(render(values), "Job") if "-rollout-v4-" in one["metadata"]["name"]]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"router": {"autoscaling": {"minReplicas": 9, "maxReplicas": 3}}}, "router.autoscaling.minReplicas is 9"),
        ({"router": {"drainSeconds": 90}}, "router.drainSeconds is 90"),
        ({"gateway": {"httpRoute": {"enabled": True}}}, "gateway.httpRoute.parentRefs is empty"),
        ({"gateway": {"ingress": {"enabled": True}}}, "gateway.ingress.host is empty"),
        ({"gateway": {"ingress": {"enabled": True, "host": "a"},
                      "httpRoute": {"enabled": True, "parentRefs": [{"name": "a"}]}}},
         "gateway.httpRoute.enabled and gateway.ingress.enabled"),
        ({"controller": {"replicas": 2, "leaderElection": {"enabled": False}}},
         "controller.leaderElection.enabled is false"),
        ({"rollouts": {"v4": {"plan": PLAN}}}, "router.routesFrom"),
        ({"accelerators": {"hugepages": {"enabled": True}}}, "accelerators.hugepages.namespace"),
        ({"accelerators": {"hugepages": {"enabled": True, "namespace": "shop"}}}, "accelerators.hugepages.namespace"),
        ({"monitors": {"daily": {"cron": "0 0 * * *", "data": "d", "spec": "s", "snapshot": "x", "pool": "tpu"}}},
         "monitors.daily.pool is 'tpu', which is not among accelerators.pools: cpu, gaudi, nvidia"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(HelmError) as caught:
        render(values)
    assert named in str(caught.value)


def test_an_older_kubernetes_is_refused_by_the_chart_s_own_bound() -> None:
    assert (
        Chart.load(TRIMTAB).metadata["kubeVersion"] == Chart.load(DEFINITIONS).metadata["kubeVersion"] == ">=1.30.0-0"
    )


def test_half_a_core_is_a_number_too() -> None:
    [router] = find(render({"router": {"resources": {"requests": {"cpu": 0.5}}}}), "Deployment", "-router")
    requests = router["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert requests == {"cpu": 0.5, "memory": "512Mi"}
