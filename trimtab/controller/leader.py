"""Who of several controllers acts: the one that holds the lease, and it stops before another one may begin."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from trimtab.errors import TrimtabError, Unavailable
from trimtab.ports import Lease

_LOG = logging.getLogger(__name__)


def await_lead(lease: Lease, *, stop: threading.Event) -> bool:
    """Wait until the lease is held.

    Args:
        lease: The lease.
        stop: Set where there is nothing to wait for any more.

    Returns:
        Whether it is held; False once `stop` is set.
    """
    pause = lease.term.total_seconds() / 6
    while not stop.is_set():
        if _claimed(lease):
            return True
        stop.wait(pause)
    return False


@contextmanager
def leading(lease: Lease, *, lost: Callable[[], None], abandon: Callable[[], None] | None = None) -> Iterator[None]:
    """Renew the lease while the block runs, and give it up at its end.

    Args:
        lease: The lease, which is held.
        lost: Called once, where another one took it or it could not be renewed for two thirds of its term. The block is
            to end then.
        abandon: Called once, where the block has not ended when the term has; ends the process where absent. What a
            decision had begun is caught up with by the next leader, while two at once could undo each other's work.
    """
    tenure, over = _Tenure(lease.term.total_seconds()), threading.Event()
    threads = (
        threading.Thread(target=_renew, args=(lease, tenure, over), name="lease", daemon=True),
        threading.Thread(target=_watch, args=(tenure, over, lost, abandon or _end), name="lease-watch", daemon=True),
    )
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(tenure.term)  # a call that hangs is left to itself
        try:
            lease.let_go()
        except TrimtabError as error:
            _LOG.warning("The lease is left to run out: %s", error)


class _Tenure:
    """Since when the lease is held.

    Args:
        term: How long a claim holds, in seconds.
    """

    def __init__(self, term: float) -> None:
        self.term = term
        self.held = time.monotonic()
        self.taken = threading.Event()

    @property
    def left(self) -> float:
        """Seconds until another one may act."""
        return max(0.0, self.held + self.term - time.monotonic())


def _renew(lease: Lease, tenure: _Tenure, over: threading.Event) -> None:
    while not over.wait(tenure.term / 6):
        asked = time.monotonic()
        try:
            if not lease.claim(now=datetime.now(UTC)):
                tenure.taken.set()
                return
            tenure.held = asked
        except TrimtabError as error:
            _LOG.warning("The lease cannot be renewed: %s", error)


def _watch(tenure: _Tenure, over: threading.Event, lost: Callable[[], None], abandon: Callable[[], None]) -> None:
    """Apart from the renewal, whose call may hang for longer than the term lasts."""
    while tenure.left > tenure.term / 3 and not tenure.taken.is_set():
        if over.wait(tenure.term / 30):
            return
    _LOG.error("The lease is lost; another controller may act in %.0f s.", tenure.left)
    lost()
    if not over.wait(tenure.left):
        abandon()


def _end() -> None:
    _LOG.critical("Another controller may act from now on, so this one ends in the middle of its work.")
    logging.shutdown()
    os._exit(1)


def _claimed(lease: Lease) -> bool:
    try:
        return lease.claim(now=datetime.now(UTC))
    except Unavailable as error:
        _LOG.warning("The lease cannot be claimed: %s", error)
        return False
