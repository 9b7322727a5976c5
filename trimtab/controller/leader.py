"""Who of several controllers acts: the one that holds the lease, and it stops before another one may begin."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from trimtab.errors import Unavailable
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
def leading(lease: Lease, *, lost: Callable[[], None]) -> Iterator[None]:
    """Renew the lease while the block runs, and give it up at its end.

    Args:
        lease: The lease, which is held.
        lost: Called once, where another one took it or it could not be renewed for two thirds of its term.
    """
    over = threading.Event()
    thread = threading.Thread(target=_renew, args=(lease, over, lost), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        try:
            lease.let_go()
        except Unavailable as error:
            _LOG.warning("The lease is left to run out: %s", error)


def _renew(lease: Lease, over: threading.Event, lost: Callable[[], None]) -> None:
    term = lease.term.total_seconds()
    held = time.monotonic()
    while not over.wait(term / 6):
        asked = time.monotonic()
        if _claimed(lease):
            held = asked
        elif time.monotonic() - held > term * 2 / 3:
            _LOG.error("The lease could not be renewed; another controller may act from now on.")
            lost()
            return


def _claimed(lease: Lease) -> bool:
    try:
        return lease.claim(now=datetime.now(UTC))
    except Unavailable as error:
        _LOG.warning("The lease cannot be claimed: %s", error)
        return False
