"""What importing loads: a process pays only for what it uses."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "kfp", "kubernetes", "mlflow", "feast", "evidently", "kserve", "optuna", "lightgbm", "sklearn")


@pytest.mark.parametrize(
    "module",
    [
        "trimtab",
        "trimtab.runtime",
        "trimtab.ports",
        "trimtab.cli.app",
        "trimtab.cli.run",
        "trimtab.experiments.assignment",
    ],
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({set(HEAVY)!r} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_the_check_sees_a_heavy_import() -> None:
    code = f"import sys, trimtab.adapters.kubeflow; print(*sorted({set(HEAVY)!r} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert "kfp" in ended.stdout.split()
