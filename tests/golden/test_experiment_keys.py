"""The keys of `trimtab experiment analyze --json` are a promise. `make golden` writes them anew."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trimtab.cli import app

EXAMPLE = Path(__file__).parents[2] / "examples" / "recommendations"
GOLDEN = Path(__file__).parent / "experiments" / "analysis_keys.txt"
PROMISED = (
    "health.srm.p_value",
    "health.problems",
    *(
        f"metrics.*.comparisons[].{key}"
        for key in ("treatment", "control", "p_value", "p_value_adjusted", "statistic")
    ),
    *(f"metrics.*.comparisons[].absolute.{key}" for key in ("estimate", "low", "high")),
    *(f"metrics.*.comparisons[].relative.{key}" for key in ("estimate", "low", "high")),
    "verdict.decision",
    "verdict.reasons",
)  # fmt: skip
NAMED = {"metrics", "arms", "weights", "counts", "expected", "balance", "novelty", "business"}  # keys that data name


def keys(value: Any, path: str = "", parent: str = "") -> set[str]:
    if isinstance(value, dict):
        found = set()
        for key, item in value.items():
            name = "*" if parent in NAMED else key
            found |= keys(item, f"{path}.{name}" if path else name, key if name != "*" else "")
        return found or {path}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(keys(item, f"{path}[]") for item in value))
    return {path}


def test_keys_of_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path))
    arguments = ["--aggregates", str(EXAMPLE / "aggregates.csv"), "--spec", str(EXAMPLE / "spec.yaml"), "--json"]
    with pytest.raises(SystemExit):
        app.main(["experiment", "analyze", *arguments])
    found = keys(json.loads(capsys.readouterr().out))
    assert set(PROMISED) <= found
    text = "\n".join(sorted(found)) + "\n"
    if os.environ.get("TRIMTAB_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert GOLDEN.read_text() == text
