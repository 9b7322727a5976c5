from pathlib import Path

import orjson
import pytest
import yaml

from trimtab.cli import main
from trimtab.testing.kubeflow_double import TOKEN, kubeflow_double
from trimtab.testing.launcher import toy

__all__ = ["toy"]


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    """A profile whose pipelines run on the endpoint in KFP_ENDPOINT."""
    profile = yaml.safe_load((Path(__file__).parents[3] / "trimtab" / "profiles" / "local.yaml").read_text())
    profile["pipelines"] = {"kind": "kubeflow", "endpoint": "${KFP_ENDPOINT}", "token": "${KFP_TOKEN}"}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(profile))
    return str(path)


def test_compiles_for_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "training.yaml"
    placed = ["--node-selector", "pool=gaudi", "--toleration", "habana.ai/gaudi:NoSchedule", "--workers", "4"]
    assert _run("pipeline", "compile", "--accelerator", "gaudi", *placed, "--out", str(out), "--json") == 0
    assert orjson.loads(capsys.readouterr().out) == {"pipeline": "training", "file": str(out)}
    assert "habana.ai/gaudi" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("compile", "--out", "x.yaml", "--accelerator", "tpu"), "none, nvidia, gaudi"),
        (("compile", "--out", "x.yaml", "--toleration", "a"), "KEY[=VALUE]:EFFECT"),
        (("run", "--data", "d", "--spec", "s", "--set", "trials"), "not NAME=VALUE"),
        (("run", "--data", "d", "--spec", "s", "--set", "trials=many"), "'many', not number_integer"),
        (("run", "--data", "d", "--spec", "s", "--set", "colour=red"), "no parameter 'colour'"),
        (("schedule", "--profile", "local", "--data", "d", "--spec", "s", "--name", "n", "--cron", "0 3 * * *"),
         "cannot schedule"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_message(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("pipeline", *arguments) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told


def test_a_tasks_refusal_is_the_commands_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = str(tmp_path / "absent.csv")
    assert _run("pipeline", "run", "--data", absent, "--spec", "ux_sessions", "--json") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    error = orjson.loads(captured.err.splitlines()[-1])["error"]
    assert (error["kind"], absent in error["message"]) == ("BadInput", True)


def test_submits_and_schedules_on_a_cluster(
    cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with kubeflow_double() as double:
        monkeypatch.setenv("KFP_ENDPOINT", double.url)
        monkeypatch.setenv("KFP_TOKEN", TOKEN)
        common = ["--profile", cluster, "--data", "s3://shop/sessions.parquet", "--spec", "ux_sessions", "--json"]
        submit = ["pipeline", "submit", *common, "--set", "trials=3"]
        assert [_run(*submit), _run(*submit)] == [0, 0]
        parts = capsys.readouterr().out.split("}\n")[:2]
        assert [orjson.loads(part + "}")["id"] for part in parts] == ["run-1", "run-1"]
        assert double.runs[0].runtime_config.parameters["trials"] == 3
        assert _run("pipeline", "schedule", *common, "--name", "nightly", "--cron", "0 3 * * *") == 0
        assert orjson.loads(capsys.readouterr().out)["schedule"] == "schedule-2"


def test_a_pipeline_that_was_compiled_otherwise_makes_another_run(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled, runs = tmp_path / "training.yaml", []
    with kubeflow_double() as double:
        monkeypatch.setenv("KFP_ENDPOINT", double.url)
        monkeypatch.setenv("KFP_TOKEN", TOKEN)
        for image in ("shop/pipeline:1", "shop/pipeline:2", "shop/pipeline:1"):
            assert _run("pipeline", "compile", "--image", image, "--out", str(compiled)) == 0
            capsys.readouterr()
            submit = ["pipeline", "submit", "--profile", cluster, "--pipeline", str(compiled), "--json"]
            assert _run(*submit, "--data", "s3://shop/sessions.parquet", "--spec", "ux_sessions") == 0
            runs.append(orjson.loads(capsys.readouterr().out)["id"])
    assert runs == ["run-1", "run-2", "run-1"]


def test_an_endpoint_that_is_away_exits_with_three(
    cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("KFP_TOKEN", "")
    assert _run("pipeline", "submit", "--profile", cluster, "--data", "d", "--spec", "s") == 3
    assert "does not answer" in capsys.readouterr().err


def test_writes_the_manifest_of_a_fit_on_several_cards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "job.yaml"
    given = ["--name", "nightly", "--snapshot", "s-1", "--volume-claim", "home", "--nodes", "2", "--processes", "8"]
    assert _run("pipeline", "train-job", *given, "--accelerator", "gaudi", "--out", str(out), "--json") == 0
    assert orjson.loads(capsys.readouterr().out) == {"name": "nightly", "file": str(out)}
    trainer = yaml.safe_load(out.read_text())["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 8)
    assert _run("pipeline", "train-job", *given, "--out", str(tmp_path / "absent" / "job.yaml")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_tells_of_runs_and_their_tasks_on_a_cluster(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with kubeflow_double() as double:
        monkeypatch.setenv("KFP_ENDPOINT", double.url)
        monkeypatch.setenv("KFP_TOKEN", TOKEN)
        monkeypatch.setenv("KUBECONFIG", str(double.kubeconfig(tmp_path / "kubeconfig")))
        assert _run("pipeline", "runs", "--profile", cluster) == 0
        assert "no runs yet" in capsys.readouterr().out
        submit = ["--data", "s3://shop/sessions.parquet", "--spec", "ux_sessions", "--run-key", "first"]
        assert _run("pipeline", "submit", "--profile", cluster, *submit) == 0
        double.runs[0].pipeline_spec["pipeline_spec"]["root"]["dag"]["tasks"]["mark"] = {}
        double.logs = {"run-1-mark": "half\n[whole]\n"}
        capsys.readouterr()
        assert _run("pipeline", "runs", "--profile", cluster) == 0
        assert capsys.readouterr().out.split("\n")[1].split() == [
            "·", "pending", "first", "training", "2026-03-01", "00:00", "UTC", "run-1"
        ]  # fmt: skip
        assert _run("pipeline", "logs", "first", "--profile", cluster) == 0
        assert "[whole]" in capsys.readouterr().out
        assert _run("pipeline", "logs", "first", "--profile", cluster, "--task", "mark", "--json") == 0
        assert orjson.loads(capsys.readouterr().out)[0]["log"] == ["half", "[whole]"]
        assert _run("pipeline", "logs", "first", "--profile", cluster, "--task", "mrak") == 2
        assert "Tasks: mark" in capsys.readouterr().err


def test_tells_of_runs_and_their_tasks_on_this_machine(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "pipelines" / "first"
    folder.mkdir(parents=True)
    (folder / "request.json").write_bytes(orjson.dumps({"pipeline": "training", "arguments": {}}))
    (folder / "log.txt").write_text(
        "10:00:00.1 - INFO - Executing task 'validate'\n    read 7 rows\n"
        "10:00:02.1 - INFO - Task 'validate' finished with status SUCCESS\n"
        "10:00:02.2 - INFO - Executing task 'features'\n    half way\n"
    )
    assert _run("pipeline", "runs", "--json") == 0
    listed = orjson.loads(capsys.readouterr().out)
    assert [(run["key"], run["pipeline"], run["state"]) for run in listed] == [("first", "training", "FAILED")]
    assert _run("pipeline", "logs", "first") == 0
    told = capsys.readouterr().out
    assert [line.split()[:3] for line in told.splitlines()] == [
        ["✓", "validate", "succeeded"],
        ["read", "7", "rows"],
        ["✗", "features", "failed"],
        ["half", "way"],
    ]
    assert _run("pipeline", "logs", "second") == 2
    assert "no pipeline run 'second'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compile", "run", "submit", "schedule", "runs", "logs", "train-job"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("pipeline", command, "--help") == 0
    assert f"Example: trimtab pipeline {command}" in " ".join(capsys.readouterr().out.split())
