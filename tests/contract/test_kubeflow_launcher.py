import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import kfp_server_api
import pytest
import yaml

from pipelines.compiler import compile_pipeline
from pipelines.options import Options
from trimtab.adapters import kubeflow_session
from trimtab.adapters.kubeflow import KubeflowLauncher
from trimtab.errors import BadInput, TrimtabError, Unavailable
from trimtab.profile import KubeflowPipelines
from trimtab.testing.kubeflow_double import TOKEN, KubeflowDouble, kubeflow_double
from trimtab.testing.launcher import LauncherContract, Started, toy

__all__ = ["toy"]


def _settings(url: str, *, token: str = TOKEN, image: str = "trimtab/pipeline-python") -> KubeflowPipelines:
    return KubeflowPipelines(kind="kubeflow", endpoint=url, namespace="shop", token=token, image=image)


@pytest.fixture
def double() -> Iterator[KubeflowDouble]:
    with kubeflow_double() as running:
        yield running


@pytest.fixture
def launcher(double: KubeflowDouble) -> KubeflowLauncher:
    return KubeflowLauncher(_settings(double.url), poll_seconds=0.01)


class TestKubeflowLauncher(LauncherContract):
    @pytest.fixture
    def launcher(self, double: KubeflowDouble) -> KubeflowLauncher:
        return KubeflowLauncher(_settings(double.url), poll_seconds=0.01)

    @pytest.fixture
    def started(self, double: KubeflowDouble) -> Started:
        return lambda: len(double.runs)


def test_sends_the_compiled_pipeline_and_its_arguments(
    launcher: KubeflowLauncher, double: KubeflowDouble, toy: str
) -> None:
    run = launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)
    sent = double.runs[0]
    assert sent.pipeline_spec == next(yaml.safe_load_all(Path(toy).read_text()))
    assert sent.runtime_config.parameters == {"run": "a", "marks": "m"}
    assert (sent.display_name, sent.experiment_id) == ("a", "e-1")
    assert (run.state, run.url) == ("PENDING", f"{double.url}/#/runs/details/run-1")


def test_names_the_namespace_only_where_there_are_many_users(double: KubeflowDouble, toy: str) -> None:
    for multi_user, named in ((False, []), (True, ["experiments:shop", "experiments:shop"])):
        double.multi_user, double.namespaces = multi_user, []
        KubeflowLauncher(_settings(double.url)).submit(toy, {"marks": "m"}, run_key=str(multi_user), wait=False)
        assert double.namespaces == named


def test_follows_a_run_with_progress(double: KubeflowDouble, toy: str) -> None:
    reports: list[tuple[str, int, int, str]] = []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        reports.append((stage, done, total, note))

    launcher = KubeflowLauncher(_settings(double.url), progress=progress, poll_seconds=0.01)
    assert launcher.submit(toy, {"marks": "m"}, run_key="a").state == "SUCCEEDED"
    assert reports == [("toy", 0, 1, "mark"), ("toy", 1, 1, "")]


def test_a_failure_carries_the_servers_reason_and_the_link(launcher: KubeflowLauncher, toy: str) -> None:
    with pytest.raises(TrimtabError, match="ended as failed in mark: an accident") as raised:
        launcher.submit(toy, {"marks": "m", "then": "fail"}, run_key="a")
    assert "/#/runs/details/run-1" in raised.value.remedy


def test_of_two_runs_started_at_once_one_remains(launcher: KubeflowLauncher, double: KubeflowDouble, toy: str) -> None:
    double.rival = True
    run = launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)
    assert run.id == "run-1"
    assert [run.state for run in double.runs] == ["PENDING", "CANCELED"]


def test_a_key_belongs_to_one_pipeline(launcher: KubeflowLauncher, double: KubeflowDouble, toy: str) -> None:
    launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)
    double.runs[0].pipeline_spec["pipelineInfo"]["name"] = "other"
    with pytest.raises(BadInput, match="run of pipeline 'other'"):
        launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)


def test_a_canceled_run_ends_the_wait(launcher: KubeflowLauncher, double: KubeflowDouble, toy: str) -> None:
    double.looks = 10_000_000
    launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)
    threading.Timer(0.2, lambda: setattr(double, "get_run", lambda _: _canceled(double))).start()
    with pytest.raises(TrimtabError, match="canceled"):
        launcher.submit(toy, {"marks": "m"}, run_key="a")


def _canceled(double: KubeflowDouble) -> object:
    double.runs[0].state = "CANCELED"
    return double.runs[0]


def test_the_profiles_image_takes_the_place_of_the_default(double: KubeflowDouble, toy: str) -> None:
    settings = _settings(double.url, image="registry.local/shop/pipeline-python:7")
    KubeflowLauncher(settings).submit(toy, {"marks": "m"}, run_key="a", wait=False)
    executors = double.runs[0].pipeline_spec["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {settings.image}


Refusal = tuple[int, str, type[TrimtabError], str]


@pytest.mark.parametrize(
    "refusal",
    [
        (401, '{"error": "Unauthenticated"}', BadInput, "refuses the token .HTTP 401.: Unauthenticated"),
        (403, '{"error": "no access to namespace shop"}', BadInput, "HTTP 403.: no access to namespace shop"),
        (404, "404 page not found", BadInput, "no v2beta1 API"),
        (400, '{"error": "pipeline spec is invalid"}', BadInput, "pipeline spec is invalid"),
        (503, "upstream connect error", Unavailable, "HTTP 503"),
        (429, "slow down", Unavailable, "HTTP 429"),
        (200, "<html>Log in</html>", BadInput, "login page"),
    ],
)
def test_says_what_is_wrong_with_the_endpoint(
    launcher: KubeflowLauncher, double: KubeflowDouble, toy: str, refusal: Refusal
) -> None:
    status, body, kind, says = refusal
    double.answer = (status, body)
    with pytest.raises(kind, match=says) as raised:
        launcher.submit(toy, {"marks": "m"}, run_key="a")
    assert double.url in raised.value.message
    assert TOKEN not in str(raised.value)


def test_a_wrong_token_is_bad_input(double: KubeflowDouble, toy: str) -> None:
    with pytest.raises(BadInput, match="token is wrong"):
        KubeflowLauncher(_settings(double.url, token="other")).submit(toy, {"marks": "m"}, run_key="a")


def test_the_pods_own_token_is_used_without_another(
    double: KubeflowDouble, toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(tmp_path / "token"))
    launcher = KubeflowLauncher(_settings(double.url, token=""))
    assert launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False).state == "PENDING"


def test_nobody_there_is_unavailable(toy: str) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        KubeflowLauncher(_settings("http://127.0.0.1:9")).submit(toy, {"marks": "m"}, run_key="a")


def test_an_endpoint_needs_a_scheme(toy: str) -> None:
    with pytest.raises(BadInput, match="not an http"):
        KubeflowLauncher(_settings("ml-pipeline:8888")).submit(toy, {"marks": "m"}, run_key="a")


def test_waiting_survives_a_short_outage(launcher: KubeflowLauncher, double: KubeflowDouble, toy: str) -> None:
    launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)
    looked = double.get_run
    outages = iter([True, True, False])

    def get_run(run_id: str) -> object:
        if next(outages, False):
            raise ConnectionAbortedError  # the handler's thread dies: the client sees a broken connection
        return looked(run_id)

    double.get_run = get_run  # type: ignore[method-assign]
    assert launcher.submit(toy, {"marks": "m"}, run_key="a").state == "SUCCEEDED"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ((401, '{"error": "token is expired"}'), BadInput, "token is expired. Run 'a' is followed no longer"),
        ((503, "away"), Unavailable, "Run 'a' is followed no longer; it goes on"),
    ],
)
def test_whoever_can_follow_no_longer_learns_that_the_run_goes_on(
    *, launcher: KubeflowLauncher, double: KubeflowDouble, toy: str, answer: tuple[int, str], kind: type[TrimtabError],
    says: str,
) -> None:  # fmt: skip
    double.looks = 10_000_000
    launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)
    threading.Timer(0.2, lambda: setattr(double, "answer", answer)).start()
    with pytest.raises(kind, match=says) as raised:
        launcher.submit(toy, {"marks": "m"}, run_key="a")
    assert "/#/runs/details/run-1" in raised.value.remedy
    assert "The same command follows it again" in raised.value.remedy


def test_an_interrupted_wait_says_that_the_run_goes_on(double: KubeflowDouble, toy: str) -> None:
    def interrupt(stage: str, done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    launcher = KubeflowLauncher(_settings(double.url), progress=interrupt, poll_seconds=0.01)
    with pytest.raises(TrimtabError, match="followed no longer; it goes on"):
        launcher.submit(toy, {"marks": "m"}, run_key="a")
    assert [run.state for run in double.runs] == ["RUNNING"]


def test_a_call_that_is_not_answered_ends(double: KubeflowDouble, toy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = KubeflowLauncher(_settings(double.url), poll_seconds=0.01)
    launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False)
    released = threading.Event()
    double.get_run = lambda run_id: released.wait(60)  # type: ignore[method-assign]
    monkeypatch.setattr(kubeflow_session, "_READ_SECONDS", 0.2)
    try:
        with pytest.raises(Unavailable, match="timed out"):
            launcher.submit(toy, {"marks": "m"}, run_key="a")
    finally:
        released.set()


def test_a_tokens_line_break_is_not_sent(double: KubeflowDouble, toy: str) -> None:
    launcher = KubeflowLauncher(_settings(double.url, token=f"{TOKEN}\n"))
    assert launcher.submit(toy, {"marks": "m"}, run_key="a", wait=False).state == "PENDING"


def test_a_schedule_compiled_anew_takes_the_place_of_the_old_one(
    launcher: KubeflowLauncher, double: KubeflowDouble, tmp_path: Path
) -> None:
    made = []
    for options in (Options(workers=2), Options(workers=3), Options(workers=3, node_selector={"pool": "spot"})):
        package = compile_pipeline("training", options, tmp_path / "training.yaml")
        made.append(launcher.schedule(str(package), {"data": "d", "spec": "s"}, name="nightly", cron="0 3 * * *"))
        assert [schedule.recurring_run_id for schedule in double.schedules] == made[-1:]
    assert len(set(made)) == 3


def test_schedules_that_a_cut_off_command_left_are_cleared(
    launcher: KubeflowLauncher, double: KubeflowDouble, toy: str
) -> None:
    launcher.schedule(toy, {"marks": "m"}, name="nightly", cron="0 3 * * *")
    older = double.schedules.copy()
    kept = launcher.schedule(toy, {"marks": "m"}, name="nightly", cron="0 4 * * *")
    double.schedules = older + double.schedules
    assert launcher.schedule(toy, {"marks": "m"}, name="nightly", cron="0 4 * * *") == kept
    assert [schedule.recurring_run_id for schedule in double.schedules] == [kept]


def test_schedules_once_and_replaces_what_differs(launcher: KubeflowLauncher, double: KubeflowDouble, toy: str) -> None:
    first = launcher.schedule(toy, {"marks": "m"}, name="nightly", cron="0 3 * * *")
    assert launcher.schedule(toy, {"marks": "m"}, name="nightly", cron="0 3 * * *") == first
    made = double.schedules[0]
    assert made.trigger.cron_schedule.cron == "0 0 3 * * *"
    assert made.runtime_config.parameters == {"run": "nightly-[[ScheduledTime]]", "marks": "m"}
    assert (made.max_concurrency, made.no_catchup, made.mode) == ("1", True, "ENABLE")
    second = launcher.schedule(toy, {"marks": "m"}, name="nightly", cron="0 4 * * *")
    assert [schedule.recurring_run_id for schedule in double.schedules] == [second] != [first]


def test_a_wrong_cron_is_bad_input(launcher: KubeflowLauncher, toy: str) -> None:
    with pytest.raises(BadInput, match="has 2 fields"):
        launcher.schedule(toy, {"marks": "m"}, name="nightly", cron="daily please")


@pytest.fixture
def failed(launcher: KubeflowLauncher, toy: str) -> str:
    """Id of a run whose task failed."""
    with pytest.raises(TrimtabError):
        launcher.submit(toy, {"marks": "m", "then": "fail"}, run_key="nightly")
    return "run-1"


@pytest.fixture
def kubeconfig(double: KubeflowDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubeconfig of the cluster that the runs' pods are in."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return double.kubeconfig(tmp_path / "kubeconfig")


@pytest.mark.usefixtures("kubeconfig")
def test_a_tasks_log_comes_from_its_pod(launcher: KubeflowLauncher, double: KubeflowDouble, failed: str) -> None:
    double.logs = {f"{failed}-mark": "begun\nan accident\nat line 3\n", "run-2-mark": "another run's\n"}
    task = launcher.tasks("nightly", lines=2)[0]
    assert (task.state, task.error, task.log) == ("FAILED", "exit code 1", ("an accident", "at line 3"))
    assert task.where == "kubectl logs --namespace shop --container main run-1-mark"
    assert task.started_at is not None
    assert task.ended_at is not None
    assert (task.ended_at - task.started_at).total_seconds() == 90
    assert launcher.tasks("nightly")[0].log == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("apiVersion", "", "no Kubernetes cluster is configured"),
        ("127.0.0.1:.*", "127.0.0.1:9", "the cluster does not answer"),
        (TOKEN, "other", "the cluster refuses the credentials"),
    ],
)
def test_where_the_pods_cannot_be_read_the_task_says_where_its_log_is(
    *, launcher: KubeflowLauncher, failed: str, kubeconfig: Path, old: str, new: str, says: str
) -> None:
    kubeconfig.write_text(re.sub(old, new, kubeconfig.read_text()) if new else "")
    task = launcher.tasks(failed, lines=5)[0]
    assert (task.error, task.log) == ("exit code 1", ())
    assert task.where.startswith("kubectl logs --namespace shop --container main --selector pipeline/runid=run-1 (")
    assert says in task.where


def test_nodes_that_are_kubeflows_own_are_no_tasks(
    launcher: KubeflowLauncher, double: KubeflowDouble, toy: str, failed: str
) -> None:
    looked = double.get_run

    def get_run(run_id: str) -> kfp_server_api.V2beta1Run | None:
        run = looked(run_id)
        assert run is not None
        details = kfp_server_api.V2beta1PipelineTaskDetail
        run.run_details.task_details += [details(display_name=name) for name in ("root", "mark-driver", "executor")]
        return run

    double.get_run = get_run  # type: ignore[method-assign]
    assert [task.name for task in launcher.tasks(failed)] == ["mark"]
    with pytest.raises(TrimtabError, match="ended as failed in mark: an accident"):
        launcher.submit(toy, {"marks": "m", "then": "fail"}, run_key="again")


@pytest.mark.usefixtures("kubeconfig")
def test_a_log_whose_pods_are_gone_is_said_to_be_gone(launcher: KubeflowLauncher, failed: str) -> None:
    assert "the run's pods are gone" in launcher.tasks(failed, lines=2)[0].where


def test_an_archived_run_is_not_asked_for(launcher: KubeflowLauncher, double: KubeflowDouble) -> None:
    assert launcher.runs(limit=7) == []
    asked = double.queries[-1]
    assert (asked["page_size"], asked["sort_by"]) == ("7", "created_at desc")
    assert json.loads(asked["filter"])["predicates"] == [
        {"operation": "NOT_EQUALS", "key": "storage_state", "stringValue": "ARCHIVED"}
    ]
