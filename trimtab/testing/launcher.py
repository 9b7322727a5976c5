"""What every `Launcher` must do: subclass the suite and give it a `launcher` and a `started` fixture."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from trimtab.errors import BadInput, NotFound, TrimtabError
from trimtab.ports import Launcher

Started = Callable[[], int]


def toy_pipeline(out: Path) -> Path:
    """Compile a pipeline of one task, `mark`: it appends a line to the file `marks`, then does as `then` says.

    `then` is `succeed`, `refuse` (bad input), `fail` (an error nobody expected), `die` (killed) or `wait`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from kfp import compiler, dsl

    @dsl.component(base_image="trimtab/pipeline-python:0", install_kfp_package=False)
    def mark(marks: str, then: str, profile: str, run: str) -> int:
        import os
        import signal
        import time

        from trimtab import runtime
        from trimtab.errors import BadInput

        with runtime.stage(profile, run=run, name="mark") as ports:
            ports.progress("mark", 0, 2, "begun")
            with open(marks, "a") as file:  # noqa: PTH123
                file.write(f"{run} {os.getpid()}\n")
            if then == "refuse":
                raise BadInput("column 'label' is absent.", remedy="Add it.")
            if then == "fail":
                raise ZeroDivisionError("an accident")
            if then == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if then == "wait":
                time.sleep(60)
            ports.progress("mark", 2, 2)
            return 7

    @dsl.pipeline(name="toy")
    def toy(run: str, marks: str, then: str = "succeed", profile: str = "local") -> int:
        return mark(marks=marks, then=then, profile=profile, run=run).set_caching_options(False).output

    compiler.Compiler().compile(toy, package_path=str(out))
    return out


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The compiled toy pipeline's file."""
    return str(toy_pipeline(tmp_path_factory.mktemp("pipelines") / "toy.yaml"))


class LauncherContract:
    """The suite."""

    @pytest.fixture
    def launcher(self) -> Launcher:
        """The launcher under test."""
        raise NotImplementedError

    @pytest.fixture
    def started(self) -> Started:
        """Counts the runs that were really started."""
        raise NotImplementedError

    @pytest.fixture
    def marks(self, tmp_path: Path) -> str:
        """The file that the toy pipeline's task appends to."""
        return str(tmp_path / "marks.txt")

    def test_runs_to_the_end(self, launcher: Launcher, toy: str, marks: str) -> None:
        """And says how it ended."""
        run = launcher.submit(toy, {"marks": marks}, run_key="first")
        assert (run.pipeline, run.state) == ("toy", "SUCCEEDED")
        assert run.created_at is not None

    def test_runs_once_per_key(self, launcher: Launcher, started: Started, toy: str, marks: str) -> None:
        """A second submission returns the first run; another key is another run."""
        runs = [launcher.submit(toy, {"marks": marks}, run_key=key) for key in ("a", "a", "b")]
        assert runs[0].id == runs[1].id != runs[2].id
        assert started() == 2

    def test_runs_a_failed_key_again(self, launcher: Launcher, started: Started, toy: str, marks: str) -> None:
        """A failure names the task, and does not use the key up."""
        with pytest.raises(TrimtabError, match="mark"):
            launcher.submit(toy, {"marks": marks, "then": "fail"}, run_key="a")
        assert launcher.submit(toy, {"marks": marks, "then": "succeed"}, run_key="a").state == "SUCCEEDED"
        assert started() == 2

    def test_refuses_a_key_that_belongs_to_another_run(
        self, launcher: Launcher, started: Started, toy: str, marks: str
    ) -> None:
        """Rather than answer with the run of other arguments."""
        launcher.submit(toy, {"marks": marks}, run_key="a")
        with pytest.raises(BadInput, match="another value of marks"):
            launcher.submit(toy, {"marks": f"{marks}2"}, run_key="a")
        assert started() == 1

    @pytest.mark.parametrize("key", ["", "../a", "a b", ".hidden", "a" * 129])
    def test_refuses_a_key_that_names_no_folder(self, launcher: Launcher, toy: str, marks: str, key: str) -> None:
        """Results are kept under it."""
        with pytest.raises(BadInput, match="is not a name"):
            launcher.submit(toy, {"marks": marks}, run_key=key)

    def test_lists_runs_newest_first(self, launcher: Launcher, toy: str, marks: str) -> None:
        """By their keys, as many as asked for."""
        assert launcher.runs() == []
        for key in ("a", "b", "c"):
            launcher.submit(toy, {"marks": marks}, run_key=key)
        listed = launcher.runs(limit=2)
        assert [(run.key, run.pipeline, run.state) for run in listed] == [
            ("c", "toy", "SUCCEEDED"),
            ("b", "toy", "SUCCEEDED"),
        ]

    def test_tells_what_became_of_each_task(self, launcher: Launcher, toy: str, marks: str) -> None:
        """Its state, and why it failed; a run is found by its key and by its id."""
        done = launcher.submit(toy, {"marks": marks}, run_key="a")
        for name in ("a", done.id):
            assert [(task.name, task.state, task.error) for task in launcher.tasks(name)] == [("mark", "SUCCEEDED", "")]
        with pytest.raises(TrimtabError):
            launcher.submit(toy, {"marks": marks, "then": "fail"}, run_key="b")
        failed = launcher.tasks("b")[0]
        assert (failed.state, bool(failed.error), bool(failed.where)) == ("FAILED", True, True)

    def test_a_run_that_nobody_started_is_not_found(self, launcher: Launcher) -> None:
        """And says so by its name."""
        for name in ("absent", "../absent"):
            with pytest.raises(NotFound, match="absent"):
                launcher.tasks(name)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({}, "needs marks"),
            ({"marks": "m", "trials": 3}, "no parameter 'trials'"),
            ({"marks": 3}, "'marks' of pipeline 'toy' is 3, not string"),
        ],
    )
    def test_refuses_wrong_arguments(
        self, launcher: Launcher, started: Started, toy: str, arguments: dict[str, object], says: str
    ) -> None:
        """Before anything runs."""
        with pytest.raises(BadInput, match=says):
            launcher.submit(toy, arguments, run_key="a")
        assert started() == 0

    def test_refuses_what_is_not_a_pipeline(self, launcher: Launcher, tmp_path: Path) -> None:
        """No file of that name, and a file of something else."""
        other = tmp_path / "other.yaml"
        other.write_text("a: [1, 2]")
        for pipeline, says in (("absent", "shipped pipeline"), (str(other), "not a compiled pipeline")):
            with pytest.raises(BadInput, match=says):
                launcher.submit(pipeline, {}, run_key="a")
