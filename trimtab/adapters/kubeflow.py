"""Pipelines on Kubeflow Pipelines, from the same compiled form as on a laptop."""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from trimtab.adapters import compiled, kubeflow_tasks
from trimtab.adapters.kubeflow_session import connect, translated
from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable
from trimtab.ports import PipelineRun, PipelineTask, Progress
from trimtab.profile import KubeflowPipelines

EXPERIMENT = "trimtab"
_DEFAULT_IMAGE = str(KubeflowPipelines.model_fields["image"].default)
_ENDED = {"SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"}
_DEAD = {"FAILED", "CANCELED", "CANCELING"}
_ARCHIVED = "ARCHIVED"
_PATIENCE = 5  # polls in a row that may fail before waiting is given up


def _silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Report progress to nobody."""


class KubeflowLauncher:
    """Runs compiled pipelines on a Kubeflow Pipelines endpoint.

    Args:
        settings: Endpoint, namespace, token and image.
        progress: Hears how many tasks of a run have ended, while it is waited for.
        poll_seconds: Time between two looks at a run.
    """

    def __init__(self, settings: KubeflowPipelines, *, progress: Progress = _silent, poll_seconds: float = 5.0) -> None:
        self._settings = settings
        self._progress = progress
        self._poll_seconds = poll_seconds

    def submit(self, pipeline: str, arguments: Mapping[str, object], *, run_key: str, wait: bool = True) -> PipelineRun:
        """Run a compiled pipeline once per `run_key`, which is the run's name.

        A run of that name that has not failed is returned instead of starting another, where it is the same pipeline
        with the same arguments. KFP has no idempotency key, so of two that were started at once all but the oldest are
        terminated.

        Raises:
            BadInput: An argument, the token or the endpoint is wrong, or the key belongs to a run of something else.
            Unavailable: The endpoint does not answer.
            TrimtabError: The run failed (only when waiting).
        """
        compiled.check_run_key(run_key)
        plan = compiled.find(pipeline)
        own = {"run": run_key} if "run" in plan.parameters else {}
        filled = plan.arguments({**own, **arguments})
        run = self._live(run_key)
        if run is None:
            with self._packaged(plan) as package, translated(self._endpoint):
                started = self._client.run_pipeline(
                    self._experiment, run_key, pipeline_package_path=str(package), params=filled
                )
            run = self._live(run_key) or started
            if run.run_id != started.run_id:
                with translated(self._endpoint):
                    self._client.terminate_run(started.run_id)
        _check_same(run, run_key, plan.name, filled)
        return self._follow(run, plan.name) if wait else self._describe(run, plan.name)

    def schedule(self, pipeline: str, arguments: Mapping[str, object], *, name: str, cron: str) -> str:
        """Run a compiled pipeline by cron; a schedule of that name is replaced where anything in it differs.

        Args:
            pipeline: A compiled file, or the name of a shipped pipeline.
            arguments: The pipeline's arguments; each run's key is the name and its scheduled time.
            name: Name of the schedule.
            cron: Five fields, or six with seconds first.

        Returns:
            The schedule's id.

        Raises:
            BadInput: The name, the cron, an argument, the token or the endpoint is wrong.
            Unavailable: The endpoint does not answer.
        """
        compiled.check_run_key(name)
        plan = compiled.find(pipeline)
        own = {"run": f"{name}-[[ScheduledTime]]"} if "run" in plan.parameters else {}
        filled = plan.arguments({**own, **arguments})
        cron = _with_seconds(cron)
        earlier = self._named("recurring_runs", self._client.list_recurring_runs, name)
        with self._packaged(plan) as package:
            mark = _mark(cron, filled, package)
            kept = next((found for found in earlier if found.description == mark), None)
            if kept is None:
                with translated(self._endpoint):
                    kept = self._client.create_recurring_run(
                        self._experiment,
                        name,
                        description=mark,
                        cron_expression=cron,
                        pipeline_package_path=str(package),
                        params=filled,
                        max_concurrency=1,
                        no_catchup=True,
                    )
        # Also what an earlier command, cut off between the two, has left beside the one that stays.
        for found in earlier:
            if found.recurring_run_id != kept.recurring_run_id:
                with translated(self._endpoint):
                    self._client.delete_recurring_run(found.recurring_run_id)
        return str(kept.recurring_run_id)

    def runs(self, *, limit: int = 20) -> list[PipelineRun]:
        """The latest runs that are not archived, newest first.

        Raises:
            BadInput: The token or the endpoint is wrong.
            Unavailable: The endpoint does not answer.
        """
        kept = {"predicates": [{"operation": "NOT_EQUALS", "key": "storage_state", "stringValue": _ARCHIVED}]}
        with translated(self._endpoint):
            page = self._client.list_runs(
                page_size=limit,
                sort_by="created_at desc",
                experiment_id=self._experiment,
                filter=json.dumps(kept),
            )
        return [self._describe(run, _pipeline(run)) for run in page.runs or []]

    def tasks(self, run: str, *, lines: int = 0) -> list[PipelineTask]:
        """Tasks of a run in the order in which they began; their logs from the cluster, where it can be reached.

        Args:
            run: Key of the run, of which the newest counts, or id of the run.
            lines: Most lines of each task's log; 0 reads none.

        Raises:
            NotFound: There is no such run.
            BadInput: The token or the endpoint is wrong.
            Unavailable: The endpoint does not answer.
        """
        named = self._named("runs", self._client.list_runs, run)
        try:
            with translated(self._endpoint):
                found = self._client.get_run(named[-1].run_id if named else run)
        except NotFound as error:
            raise NotFound(
                f"Kubeflow Pipelines at {self._endpoint} has no run '{run}'.", remedy="See `trimtab pipeline runs`."
            ) from error
        namespace = self._settings.namespace
        pods = kubeflow_tasks.ClusterPods(namespace)
        return kubeflow_tasks.described(found, pods, namespace=namespace, lines=lines)

    @cached_property
    def _connection(self) -> tuple[Any, str | None]:
        return connect(self._settings)

    @property
    def _client(self) -> Any:
        return self._connection[0]

    @property
    def _endpoint(self) -> str:
        return self._settings.endpoint.rstrip("/")

    @cached_property
    def _experiment(self) -> str:
        client, namespace = self._connection
        with translated(self._endpoint):
            return str(client.create_experiment(EXPERIMENT, namespace=namespace).experiment_id)

    def _named(self, kind: str, listing: Any, name: str) -> list[Any]:
        """Everything of one kind with a name, oldest first."""
        predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
        found: list[Any] = []
        token = ""
        while True:
            with translated(self._endpoint):
                page = listing(
                    page_token=token,
                    page_size=100,
                    sort_by="created_at asc",
                    experiment_id=self._experiment,
                    filter=json.dumps({"predicates": [predicate]}),
                )
            found += getattr(page, kind) or []
            token = page.next_page_token
            if not token:
                return found

    def _live(self, run_key: str) -> Any:
        """The oldest run of this key that has not failed; None where there is none."""
        runs = self._named("runs", self._client.list_runs, run_key)
        return next((run for run in runs if run.state not in _DEAD and run.storage_state != _ARCHIVED), None)

    @contextmanager
    def _packaged(self, plan: compiled.CompiledPipeline) -> Iterator[Path]:
        """The compiled file, with the profile's image in place of the default one."""
        image = self._settings.image
        if image == _DEFAULT_IMAGE:
            yield plan.path
            return
        documents = list(yaml.safe_load_all(plan.path.read_text(encoding="utf-8")))
        for executor in documents[0]["deploymentSpec"]["executors"].values():
            container = executor.get("container", {})
            if str(container.get("image", "")).rpartition(":")[0] == _DEFAULT_IMAGE:
                container["image"] = image
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / plan.path.name
            package.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")
            yield package

    def _follow(self, run: Any, pipeline: str) -> PipelineRun:
        """Wait for the end, and say that the run goes on where the waiting ends before it."""
        told = self._describe(run, pipeline)
        goes_on = f"Run '{told.key}' is followed no longer; it goes on."
        again = f"The same command follows it again; its page is {told.url}."
        try:
            run = self._ended(run, pipeline)
        except NotFound:  # somebody deleted it
            raise
        except (BadInput, Unavailable) as error:
            raise type(error)(
                f"{error.message.rstrip('.')}. {goes_on}", remedy=f"{error.remedy} {again}".strip()
            ) from error
        except KeyboardInterrupt as error:
            raise TrimtabError(goes_on, remedy=again) from error
        described = self._describe(run, pipeline)
        if run.state != "SUCCEEDED":
            raise TrimtabError(
                f"run '{run.display_name}' of pipeline '{pipeline}' ended as {run.state.lower()}{_cause(run)}.",
                remedy=f"See `trimtab pipeline logs {run.display_name}`, or {described.url}.",
            )
        return described

    def _ended(self, run: Any, pipeline: str) -> Any:
        """The run at its end; a few polls in a row may find the endpoint away."""
        missed = 0
        while run.state not in _ENDED:
            time.sleep(self._poll_seconds)
            try:
                with translated(self._endpoint):
                    run = self._client.get_run(run.run_id)
                missed = 0
            except Unavailable:
                missed += 1
                if missed >= _PATIENCE:
                    raise
            self._tell(run, pipeline)
        return run

    def _tell(self, run: Any, pipeline: str) -> None:
        tasks = kubeflow_tasks.own_tasks(run)
        if tasks:
            going = [task.display_name for task in tasks if task.state == "RUNNING"]
            done = sum(task.state in _ENDED for task in tasks)
            self._progress(pipeline, done, len(tasks), ", ".join(going))

    def _describe(self, run: Any, pipeline: str) -> PipelineRun:
        return PipelineRun(
            id=run.run_id,
            pipeline=pipeline,
            state=run.state or "PENDING",
            url=f"{self._endpoint}/#/runs/details/{run.run_id}",
            created_at=run.created_at,
            key=run.display_name or "",
        )


def _pipeline(run: Any) -> str:
    """Name of a run's pipeline; empty where the run does not carry it."""
    stored = run.pipeline_spec or {}
    stored = stored.get("pipeline_spec", stored)
    return str(stored.get("pipelineInfo", {}).get("name", ""))


def _check_same(run: Any, run_key: str, pipeline: str, arguments: Mapping[str, object]) -> None:
    """A run that was found by its key must be of this pipeline, with these arguments."""
    if (other := _pipeline(run)) not in ("", pipeline):
        raise BadInput(f"run key '{run_key}' belongs to a run of pipeline '{other}'.", remedy="Use another run key.")
    earlier = (run.runtime_config.parameters if run.runtime_config else None) or {}
    compiled.check_same_arguments(run_key, earlier, arguments)


def _cause(run: Any) -> str:
    """The tasks that failed, and the run's or else their reason, as the end of a sentence."""
    failed = [task for task in kubeflow_tasks.own_tasks(run) if task.state == "FAILED" and task.display_name]
    reasons = [run.error.message if run.error else "", *(task.error.message for task in failed if task.error)]
    names = ", ".join(sorted({task.display_name for task in failed}))
    message = next((" ".join(reason.split()).rstrip(".") for reason in reasons if reason), "")
    return (f" in {names}" if names else "") + (f": {message}" if message else "")


def _with_seconds(cron: str) -> str:
    """Kubeflow's six-field cron.

    >>> _with_seconds("0 3 * * *")
    '0 0 3 * * *'
    """
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise BadInput(
            f"cron '{cron}' has {len(fields)} fields; it must have 5, or 6 with seconds first.",
            remedy="For example: '0 3 * * *', every night at three.",
        )
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


def _mark(cron: str, arguments: Mapping[str, object], package: Path) -> str:
    """What a schedule is known again by: a hash over all that it does, nodes and volumes included."""
    documents = list(yaml.safe_load_all(package.read_text(encoding="utf-8")))
    content = json.dumps([cron, arguments, documents], sort_keys=True).encode()
    return f"Made by trimtab from {hashlib.sha256(content).hexdigest()}"
