"""Which metrics a server shows, in processes of their own: the library decides at its first import."""

import subprocess
import sys
from pathlib import Path

import pytest

_COUNT = """
import os
{before}
from prometheus_client import Counter, generate_latest
from serving.metrics import shown
{after}
Counter("asked", "Questions.").inc(3)
print(b"asked_total 3.0" in generate_latest(shown()))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("", "os.environ['PROMETHEUS_MULTIPROC_DIR'] = {folder!r}"),  # as Feast does when it is imported later
        ("os.environ['PROMETHEUS_MULTIPROC_DIR'] = {folder!r}", ""),
    ],
)
def test_what_was_counted_is_shown_whoever_sets_the_variable_later(tmp_path: Path, before: str, after: str) -> None:
    lines = {name: line.format(folder=str(tmp_path)) for name, line in (("before", before), ("after", after))}
    done = subprocess.run([sys.executable, "-c", _COUNT.format(**lines)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
