import ast
import re
from pathlib import Path

import pytest
import yaml

import components
from components.tune.component import tune
from pipelines.compiler import compile_pipeline
from pipelines.options import (
    REQUIRED_ENVIRONMENT,
    Options,
    Toleration,
    parse_accelerator,
    parse_node_selector,
    parse_toleration,
)
from trimtab.errors import BadInput
from trimtab.profile import shipped_profiles

COMPONENTS = sorted(Path(components.__file__).parent.glob("*/component.py"))


def _compiled(tmp_path: Path, options: Options) -> list[dict[str, object]]:
    return list(yaml.safe_load_all(compile_pipeline("training", options, tmp_path / "p.yaml").read_text()))


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_a_component_only_calls_a_step(path: Path) -> None:
    function = next(node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
    assert function.name == path.parent.name
    statements = [node for node in ast.walk(function) if isinstance(node, ast.stmt)][1:]
    docstring, *body = statements
    assert isinstance(docstring, ast.Expr)
    assert len(body) <= 10
    assert "results.perform(" in ast.unparse(function)
    assert (path.parent / "README.md").is_file()


def test_no_task_is_answered_from_a_cache(tmp_path: Path) -> None:
    pipeline = _compiled(tmp_path, Options())[0]
    tasks: dict[str, dict[str, dict[str, object]]] = {}
    for dag in (pipeline["root"], *pipeline["components"].values()):  # type: ignore[attr-defined]
        tasks |= dag.get("dag", {}).get("tasks", {})
    assert not {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert {"validate", "tune", "train", "register"} < set(tasks)


def test_workers_and_cards_are_fixed_when_compiled(tmp_path: Path) -> None:
    text = yaml.safe_dump_all(_compiled(tmp_path, Options(workers=5, accelerator="gaudi")))
    assert "'[0, 1, 2, 3, 4]'" in text
    assert text.count("resourceType: habana.ai/gaudi") == 1
    assert "nvidia" not in text


def test_a_lost_worker_is_started_again_and_no_other_task_is(tmp_path: Path) -> None:
    pipeline = _compiled(tmp_path, Options(retries=3))[0]
    retried = {
        name: task["retryPolicy"]["maxRetryCount"]
        for dag in (pipeline["root"], *pipeline["components"].values())  # type: ignore[attr-defined]
        for name, task in dag.get("dag", {}).get("tasks", {}).items()
        if "retryPolicy" in task
    }
    assert retried == {"tune": 3}


def test_every_task_asks_for_what_it_needs_and_runs_as_nobody_special(tmp_path: Path) -> None:
    pipeline, platform = _compiled(tmp_path, Options(cpu="500m", memory="4Gi"))
    executors = pipeline["deploymentSpec"]["executors"]  # type: ignore[index]
    for executor in executors.values():
        asked = executor["container"]["resources"]
        assert (asked["resourceCpuRequest"], asked["resourceMemoryRequest"], asked["resourceMemoryLimit"]) == (
            "500m",
            "4Gi",
            "4Gi",
        )
        assert "resourceCpuLimit" not in asked  # CPU that nobody else wants is there to be used
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]  # type: ignore[index]
    assert placed.keys() == executors.keys()
    assert all(one["securityContext"] == {"runAsNonRoot": True} for one in placed.values())


@pytest.mark.parametrize("wrong", [{"cpu": "two"}, {"cpu": "1.5m"}, {"memory": "4 GB"}, {"memory": "-1Gi"}])
def test_refuses_what_is_no_quantity(wrong: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="no quantity"):
        Options(**wrong)  # type: ignore[arg-type]


def test_workers_on_gaudi_share_its_recipes_where_they_share_a_volume() -> None:
    assert Options(accelerator="gaudi").worker_environment == {"PT_HPU_LAZY_MODE": "0"}
    told = Options(accelerator="gaudi", volume_claim="home").worker_environment
    assert told["PT_HPU_RECIPE_CACHE_CONFIG"] == "/var/lib/trimtab/hpu-recipes,False,1024"
    assert Options(accelerator="nvidia", volume_claim="home").worker_environment == {}


def test_a_slice_of_a_card_has_a_resource_of_its_own(tmp_path: Path) -> None:
    text = yaml.safe_dump_all(_compiled(tmp_path, Options(accelerator="nvidia", resource="nvidia.com/mig-1g.10gb")))
    assert "resourceType: nvidia.com/mig-1g.10gb" in text
    with pytest.raises(BadInput, match="without an accelerator"):
        Options(resource="nvidia.com/mig-1g.10gb")


@pytest.mark.parametrize("retries", [-1, 11])
def test_refuses_too_few_and_too_many_retries(retries: int) -> None:
    with pytest.raises(BadInput, match=str(retries)):
        Options(retries=retries)


def test_nodes_and_taints_concern_the_tuning_workers_alone(tmp_path: Path) -> None:
    options = Options(node_selector={"pool": "cards"}, tolerations=(Toleration("card", "", "NoSchedule"),))
    platform = _compiled(tmp_path, options)[1]
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]  # type: ignore[index]
    placed = {name for name, one in executors.items() if "nodeSelector" in one or "tolerations" in one}
    assert placed == {"exec-tune"}


def test_the_secret_has_what_the_cluster_profile_needs() -> None:
    text = shipped_profiles()["cluster"].read_text()
    assert set(re.findall(r"\$\{(\w+)\}", text)) == set(REQUIRED_ENVIRONMENT)


def test_reads_placement_from_text() -> None:
    assert parse_node_selector(["a=b", "c=d=e", "f="]) == {"a": "b", "c": "d=e", "f": ""}
    assert parse_toleration("key=value:NoExecute") == Toleration("key", "value", "NoExecute")
    assert parse_accelerator("gaudi") == "gaudi"


@pytest.mark.parametrize("text", ["", "key", "key:Never", ":NoSchedule", "a=b=c:d:NoSchedule"])
def test_refuses_a_wrong_toleration(text: str) -> None:
    with pytest.raises(BadInput, match="KEY"):
        parse_toleration(text)


@pytest.mark.parametrize("text", ["", "pool", "=x"])
def test_refuses_a_wrong_node_selector(text: str) -> None:
    with pytest.raises(BadInput, match="KEY=VALUE"):
        parse_node_selector([text])


@pytest.mark.parametrize("workers", [0, 65])
def test_refuses_too_few_and_too_many_workers(workers: int) -> None:
    with pytest.raises(BadInput, match=str(workers)):
        Options(workers=workers)


def test_refuses_to_compile_what_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no pipeline 'serving'"):
        compile_pipeline("serving", Options(), tmp_path / "p.yaml")
    with pytest.raises(BadInput, match=r"\.yaml"):
        compile_pipeline("training", Options(), tmp_path / "p.txt")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be written"):
        compile_pipeline("training", Options(), tmp_path / "file" / "p.yaml")


@pytest.mark.parametrize(("trials", "worker"), [(0, 0), (1, 1), (2, 3)])
def test_a_worker_without_a_share_of_the_trials_does_nothing(trials: int, worker: int) -> None:
    where = {"profile": "absent", "run": "a", "snapshot_id": "absent", "device": "auto"}
    answer = tune.python_func(trials=trials, study="earlier", worker=worker, workers=4, seed=7, **where)
    assert answer == "earlier"
