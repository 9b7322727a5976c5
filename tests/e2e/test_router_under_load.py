"""Servers killed under load: nobody goes without an answer, nobody changes arms, and no flushed event is lost."""

from pathlib import Path

import pytest

from benchmarks.router_load import FLUSH_SECONDS, measure

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]
BUSY_SECONDS = 4.0  # a machine that runs other tests too may be late with a flush by so much


def test_killed_servers_cost_no_answer_no_user_and_no_flushed_event(tmp_path: Path) -> None:
    figures = measure(tmp_path, seconds=3.0)
    assert figures.requests > 100
    assert figures.fallbacks > 0  # else the arm was not needed, and nothing was shown
    assert (figures.failed, figures.moved_users) == (0, 0)
    assert figures.recovery_seconds < 5
    assert (figures.missing_after_stop, figures.repeated) == (0, 0)
    assert figures.answered_before_kill > 0
    assert figures.oldest_missing_seconds <= FLUSH_SECONDS + BUSY_SECONDS
