"""What runs by schedule: the commands are the command line's own, parsed by it."""

from pathlib import Path
from typing import Any

import pytest
import typer

from tests.charts.rendering import Object, containers, find, pod_specs, render, shape
from trimtab.cli.app import commands
from trimtab.rollout.plan import load_plan


def _parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that `trimtab WORDS` would run, and its parameters."""
    command: Any = typer.main.get_command(commands())
    path = []
    while hasattr(command, "commands"):
        path.append(words[0])
        command, words = command.commands[words[0]], words[1:]
    return " ".join(path), command.make_context("trimtab", list(words)).params


def _commands(objects: list[Object]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        where: _parsed([*container["command"][1:], *container["args"]])
        for where, container in containers(objects)
        if container.get("command", [""])[0] == "trimtab"
    }


def test_the_command_line_understands_every_command(objects: list[Object]) -> None:
    for name, parameters in _commands(objects).values():
        assert parameters, name


def test_a_schedule_is_compiled_and_then_set() -> None:
    found = _commands(find(render(shape("gaudi")), "Job", "-schedule-nightly"))
    compiled, compiling = found["Job trimtab-schedule-nightly / compile"]
    assert compiled == "pipeline compile"
    assert compiling["accelerator"] == "gaudi"
    assert compiling["resource"] == "habana.ai/gaudi"
    assert (compiling["workers"], compiling["retries"]) == (8, 3)
    assert compiling["node_selector"] == ["habana.ai/device.name=gaudi3"]
    assert compiling["toleration"] == ["habana.ai/gaudi:NoSchedule"]
    assert compiling["worker_image"] == "trimtab/gaudi-python:0.1.0"
    assert (compiling["environment_secret"], compiling["volume_claim"]) == ("trimtab-environment", "trimtab-home")
    scheduled, parameters = found["Job trimtab-schedule-nightly / command"]
    assert scheduled == "pipeline schedule"
    assert parameters["pipeline"] == str(compiling["out"])
    assert parameters["cron"] == "0 3 * * *"
    assert sorted(parameters["arguments"]) == ['device="hpu"', "trials=64"]


def test_a_schedule_is_set_again_after_each_upgrade() -> None:
    [job] = find(render(shape("gpu")), "Job", "-schedule-nightly")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade"
    assert "before-hook-creation" in job["metadata"]["annotations"]["helm.sh/hook-delete-policy"]


def test_large_numbers_stay_numbers() -> None:
    schedule = {**shape("cpu")["schedules"]["nightly"], "arguments": {"trials": 12_000_000}}
    [job] = find(render({**shape("cpu"), "schedules": {"nightly": schedule}}), "Job", "-nightly")
    assert "--set=trials=12000000" in job["spec"]["template"]["spec"]["containers"][0]["args"]


def test_monitors_submit_the_monitoring_pipeline() -> None:
    found = _commands(find(render(shape("standard")), "CronJob", "-monitor-daily"))
    assert found["CronJob trimtab-monitor-daily / compile"][1]["name"] == "monitoring"
    name, parameters = found["CronJob trimtab-monitor-daily / command"]
    assert name == "pipeline submit"
    assert parameters["run_key"] == ""  # derived from the file, so that an unchanged one is not compared again
    assert not parameters["arguments"]  # the champion's own snapshot, whichever version that is by then


def test_a_monitor_may_name_another_snapshot() -> None:
    monitor = {**shape("standard")["monitors"]["daily"], "snapshot": "0123456789abcdef", "arguments": {"trials": 4}}
    found = _commands(find(render({"monitors": {"daily": monitor}}), "CronJob", "-monitor-daily"))
    _, parameters = found["CronJob trimtab-monitor-daily / command"]
    assert parameters["arguments"] == ['snapshot_id="0123456789abcdef"', "trials=4"]


def test_histories_are_loaded_by_the_features_command() -> None:
    found = _commands(find(render(shape("standard")), "CronJob", "-materialize-hourly"))
    [(name, parameters)] = found.values()
    assert name == "features materialize"
    assert parameters["spec"] == "ux_sessions"


def test_histories_may_be_loaded_by_a_profile_of_one_s_own() -> None:
    values = {
        "materializations": {"hourly": {"cron": "10 * * * *", "spec": "s", "profile": "/var/lib/trimtab/ray.yaml"}}
    }
    [(_, parameters)] = _commands(find(render(values), "CronJob", "-materialize-hourly")).values()
    assert parameters["profile"] == "/var/lib/trimtab/ray.yaml"


def test_no_run_overlaps_the_one_before(objects: list[Object]) -> None:
    for one in find(objects, "CronJob"):
        assert one["spec"]["concurrencyPolicy"] == "Forbid"
        assert one["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] > 0


@pytest.mark.parametrize(("auth", "mounted"), [("serviceAccount", True), ("token", False), ("none", False)])
def test_kubeflow_s_token_is_mounted_only_where_it_is_the_way_in(auth: str, mounted: bool) -> None:
    [job] = find(render({**shape("gpu"), "kubeflow": {"auth": auth}}), "Job", "-schedule-nightly")
    spec = job["spec"]["template"]["spec"]
    tokens = [one for one in spec["volumes"] if "projected" in one]
    assert bool(tokens) == mounted
    assert all(
        one["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org" for one in tokens
    )
    by_name = {one["name"]: one for one in spec["containers"][0]["env"]}
    assert ("valueFrom" in by_name["KFP_TOKEN"]) == (auth == "token")


def test_a_pool_s_runs_live_in_its_namespace() -> None:
    [job] = find(render(shape("gaudi")), "Job", "-schedule-nightly")
    by_name = {one["name"]: one.get("value") for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert by_name["KFP_NAMESPACE"] == "shop-gaudi"


def test_cards_are_counted_and_huge_pages_given_where_the_pool_is() -> None:
    objects = render(shape("gaudi"))
    [quota] = find(objects, "ResourceQuota")
    [limits] = find(objects, "LimitRange")
    assert quota["spec"]["hard"] == {"requests.habana.ai/gaudi": "8"}
    assert quota["metadata"]["namespace"] == limits["metadata"]["namespace"] == "shop-gaudi"
    [limit] = limits["spec"]["limits"]
    assert limit["default"] == limit["defaultRequest"] == {"hugepages-2Mi": "9800Mi", "memory": "100Gi"}


@pytest.mark.parametrize("retries", [0, 5])
def test_a_pool_says_how_often_a_lost_worker_is_started_again(retries: int) -> None:
    values = {**shape("cpu"), "accelerators": {"pools": {"spot": {"accelerator": "none", "retries": retries}}}}
    values["schedules"]["nightly"]["pool"] = "spot"
    found = _commands(find(render(values), "Job", "-nightly"))
    assert found["Job trimtab-schedule-nightly / compile"][1]["retries"] == retries


def test_a_pool_says_what_its_tasks_ask_for() -> None:
    values = {**shape("cpu"), "accelerators": {"pools": {"big": {"accelerator": "none", "cpu": 2, "memory": "16Gi"}}}}
    asked = {}
    for pool in ("big", "cpu"):
        values["schedules"]["nightly"]["pool"] = pool
        found = _commands(find(render(values), "Job", "-nightly"))["Job trimtab-schedule-nightly / compile"][1]
        asked[pool] = (found["cpu"], found["memory"])
    assert asked == {"big": ("2", "16Gi"), "cpu": ("1", "4Gi")}


def test_pools_are_equals() -> None:
    accelerators = {}
    for pool in ("cpu", "nvidia", "gaudi"):
        schedule = {**shape("cpu")["schedules"]["nightly"], "pool": pool}
        found = _commands(find(render({"schedules": {"nightly": schedule}}), "Job", "-nightly"))
        accelerators[pool] = found["Job trimtab-schedule-nightly / compile"][1]["accelerator"]
    assert accelerators == {"cpu": "none", "nvidia": "nvidia", "gaudi": "gaudi"}


def test_the_event_log_is_compacted_unless_nobody_wants_it() -> None:
    [(name, _)] = _commands(find(render(), "CronJob", "-compact-events")).values()
    assert name == "events compact"
    assert not find(render({"compaction": {"cron": ""}}), "CronJob")


def test_a_rollout_is_driven_by_the_plan_that_its_values_hold(tmp_path: Path) -> None:
    objects = render(shape("rollout"))
    [job] = [one for one in find(objects, "Job") if "-rollout-" in one["metadata"]["name"]]
    [(name, parameters)] = _commands([job]).values()
    assert name == "rollout start"
    assert parameters["every"] == 30
    [config] = find(objects, "ConfigMap", job["metadata"]["name"])
    (tmp_path / "plan.yaml").write_text(config["data"]["plan.yaml"])
    assert load_plan(str(tmp_path / "plan.yaml")).name == "network-against-logistic"
    mounts = {mount["mountPath"] for mount in job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]}
    assert parameters["plan"] in {f"{mount}/plan.yaml" for mount in mounts}


def test_a_changed_plan_is_another_job() -> None:
    values = shape("rollout")
    first = {one["metadata"]["name"] for one in find(render(values), "Job")}
    values["rollouts"]["network-against-logistic"]["plan"]["planned_units"] = 40_000
    assert first.isdisjoint({one["metadata"]["name"] for one in find(render(values), "Job")})


def test_whoever_drives_rollouts_writes_routes_where_the_router_reads() -> None:
    objects = render(shape("rollout"))
    [router] = find(objects, "Deployment", "-router")
    spec = router["spec"]["template"]["spec"]
    assert "--routes=/var/lib/trimtab/routes" in spec["containers"][0]["args"]
    homes = [
        next(one for one in each["volumes"] if one["name"] == "home")
        for _, each in pod_specs(objects)
        if any(one["name"] == "home" for one in each["volumes"])
    ]
    assert all(one["persistentVolumeClaim"]["claimName"] == "trimtab-home" for one in homes)


def test_bad_input_is_not_tried_again(objects: list[Object]) -> None:
    jobs = [one["spec"] for one in find(objects, "Job")] + [
        one["spec"]["jobTemplate"]["spec"] for one in find(objects, "CronJob")
    ]
    for job in jobs:
        command = job["template"]["spec"]["containers"][0]
        if command["command"] == ["trimtab"]:
            [codes] = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
            assert codes == {"containerName": command["name"], "operator": "In", "values": [2]}
