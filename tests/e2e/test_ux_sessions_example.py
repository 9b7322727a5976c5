import subprocess
import sys
from pathlib import Path

import pytest

from trimtab.sessions.simulator import WorldConfig, simulate, write

SCRIPT = Path(__file__).parents[2] / "examples" / "ux_sessions" / "whats_true.py"


@pytest.mark.e2e
def test_the_example_reads_the_truth(tmp_path: Path) -> None:
    write(simulate(WorldConfig(sessions=3_000)), tmp_path)
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, check=True)
    assert "3,000 sessions" in done.stdout
    assert "lcp_ms" in done.stdout
