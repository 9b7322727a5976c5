"""Each image's entry points, run as a cluster runs them: no root, no capabilities, a read-only root file system.

Needs podman and the images (`make images`); without them the tests are skipped and say so.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from trimtab import __version__
from trimtab.sessions.spec import dump_spec
from trimtab.testing.kubernetes_double import kubernetes_double
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

ROOT = Path(__file__).parents[2]
SPEC = shop_spec(users=False)
HARDENED = ("--network=host", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--no-healthcheck")


def image(name: str) -> str:
    """The image of that name; skips where it cannot be run."""
    reference = f"trimtab/{name}:{os.environ.get('TRIMTAB_IMAGE_TAG', __version__)}"
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    if subprocess.run(["podman", "image", "exists", reference], check=False).returncode:
        pytest.skip(f"image {reference} is not on this machine: run make images")
    return reference


def run(name: str, *command: str, options: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run a command in an image to its end."""
    words = ["podman", "run", "--rm", *HARDENED, *options, image(name), *command]
    return subprocess.run(words, check=False, capture_output=True, text=True, timeout=200)


@contextmanager
def running(name: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """A container that serves while the block runs."""
    words = ["podman", "run", "--detach", *HARDENED, *options, image(name), *command]
    container = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    try:
        yield container
    finally:
        subprocess.run(["podman", "rm", "--force", "--time=5", container], check=True, capture_output=True, timeout=60)


def inside(container: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a command in a container that is running."""
    return subprocess.run(
        ["podman", "exec", container, *command], check=False, capture_output=True, text=True, timeout=60
    )


def answered(container: str, url: str) -> httpx.Response:
    """The first good answer; fails with the container's log where none comes."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            response = httpx.get(url, timeout=2.0, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if response.status_code == 200:
            return response
        time.sleep(0.2)
    log = subprocess.run(["podman", "logs", container], check=False, capture_output=True, text=True, timeout=30)
    pytest.fail(f"{url} does not answer: {log.stdout}{log.stderr}")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that the image's user may write, as a volume with an fsGroup is."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_the_predictor_answers(port: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    bundle = shop_bundle(tmp_path / "bundle", shop_sessions(rng, SPEC), SPEC, rng=rng)
    command = ("python", "-m", "serving.predictor", "--model_name=shop", "--model_version=3")
    mounted = (f"--volume={bundle}:/mnt/models:ro", f"--env=TRIMTAB_HEALTH_URL=http://127.0.0.1:{port}/v2/health/live")
    with running("serving", *command, "--host=127.0.0.1", f"--http_port={port}", options=mounted) as container:
        answered(container, f"http://127.0.0.1:{port}/v2/health/ready")
        row = {"lcp_ms": 2500.0, "api_ms": 180.0, "device": "mobile"}
        url = f"http://127.0.0.1:{port}/v1/models/shop:predict"
        response = httpx.post(url, json={"instances": [row]}, timeout=10.0, trust_env=False)
        answer = response.json()["predictions"][0]
        assert 0 < answer["probability"] < 1
        assert answer["version"] == 3
        check_health_and_confinement(container, "serving")


def test_the_router_answers(port: int, shared: Path) -> None:
    options = (f"--volume={shared}:/var/lib/trimtab", f"--env=TRIMTAB_HEALTH_URL=http://127.0.0.1:{port}/healthz")
    command = ("python", "-m", "serving.router", "--profile=local", "--open", "--host=127.0.0.1", f"--port={port}")
    with running("serving", *command, options=options) as container:
        answered(container, f"http://127.0.0.1:{port}/healthz")
        check_health_and_confinement(container, "serving")


def check_health_and_confinement(container: str, name: str) -> None:
    """The image's own health check passes, by a user who is not root and cannot write the image."""
    described = subprocess.run(["podman", "inspect", image(name)], check=True, capture_output=True, text=True)
    _, *health = json.loads(described.stdout)[0]["Healthcheck"]["Test"]
    assert inside(container, *health).returncode == 0
    assert inside(container, "id", "-u").stdout.strip() == "10001"
    assert "Read-only" in inside(container, "touch", "/opt/trimtab/mark").stderr


def test_the_controller_says_in_one_line_that_there_is_no_cluster(port: int, shared: Path) -> None:
    ended = run("controller", *controller(port), options=(f"--volume={shared}:/var/lib/trimtab",))
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert re.fullmatch(r"error: no Kubernetes cluster is configured: .*KUBECONFIG\.\n", ended.stderr), ended.stderr


def test_the_controller_waits_for_its_lease(port: int, shared: Path, tmp_path: Path) -> None:
    with kubernetes_double() as cluster:
        held = {"holderIdentity": "another", "leaseDurationSeconds": 600, "renewTime": "2026-03-01T00:00:00.000000Z"}
        cluster.store("leases", {"metadata": {"name": "lead", "namespace": "shop"}, "spec": held})
        kubeconfig = cluster.kubeconfig(tmp_path / "kubeconfig")
        options = (
            f"--volume={shared}:/var/lib/trimtab",
            f"--volume={kubeconfig}:/etc/kubeconfig:ro",
            "--env=KUBECONFIG=/etc/kubeconfig",
            f"--env=TRIMTAB_HEALTH_URL=http://127.0.0.1:{port}/healthz",
        )
        with running("controller", *controller(port), "--lease=lead", options=options) as container:
            answered(container, f"http://127.0.0.1:{port}/healthz")
            check_health_and_confinement(container, "controller")


def controller(port: int) -> tuple[str, ...]:
    """The controller's command, as the chart gives it."""
    options = ("--namespace=shop", "--profile=local", f"--health-port={port}", "--health-host=127.0.0.1")
    return ("python", "-m", "trimtab.controller", *options)


def test_the_pipeline_has_the_command_line() -> None:
    told = run("pipeline-python")
    assert (told.returncode, "pipeline" in told.stdout) == (0, True), told.stderr


def test_the_pipeline_runs_a_component_as_the_cluster_does(shared: Path) -> None:
    shop_sessions(np.random.default_rng(4), SPEC, rows=400).to_csv(shared / "sessions.csv", index=False)
    (shared / "spec.yaml").write_text(dump_spec(SPEC))
    compiled = next(yaml.safe_load_all((ROOT / "pipelines/compiled/training.yaml").read_text(encoding="utf-8")))
    container = compiled["deploymentSpec"]["executors"]["exec-validate"]["container"]
    home = "/var/lib/trimtab"
    given = {"data": f"{home}/sessions.csv", "spec": f"{home}/spec.yaml", "profile": "local", "run": "first"}
    output = {"parameters": {"Output": {"outputFile": f"{home}/snapshot"}}, "outputFile": f"{home}/output.json"}
    executor_input = json.dumps({"inputs": {"parameterValues": given}, "outputs": output})
    arguments = [executor_input if word == "{{$}}" else word for word in container["args"]]
    ended = run("pipeline-python", *container["command"], *arguments, options=(f"--volume={shared}:{home}",))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    snapshot = json.loads((shared / "output.json").read_text())["parameterValues"]["Output"]
    assert (shared / "snapshots" / snapshot / "spec.yaml").is_file()


@pytest.mark.parametrize(
    ("name", "absent"),
    [
        ("serving", ("torch", "kfp", "dask", "optuna", "evidently", "duckdb", "ibis", "grpc_tools", "PIL", "pip")),
        ("controller", ("torch", "kfp", "feast", "sklearn", "grpc_tools", "PIL", "pip")),
        ("pipeline-python", ("kserve", "kopf", "pip")),
    ],
)
def test_an_image_holds_nothing_that_its_process_never_loads(name: str, absent: tuple[str, ...]) -> None:
    code = f"from importlib.util import find_spec; print(*[name for name in {absent!r} if find_spec(name)])"
    assert run(name, "python", "-c", code).stdout.split() == []
