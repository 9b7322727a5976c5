"""A circuit breaker as a pure state machine: an arm that keeps failing is left alone for a while, then asked once.

Time comes in as `now`, in seconds of any clock that only goes forward.
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens, and for how long.

    Attributes:
        window: Requests that the failure rate is taken over.
        fewest: Requests that must be in the window before it can open.
        failure_rate: Share of failures from which it opens.
        open_seconds: How long it stays open before one request may probe the arm.
    """

    window: int = 20
    fewest: int = 5
    failure_rate: float = 0.5
    open_seconds: float = 2.0


class Breaker:
    """Decides whether an arm is asked.

    Closed, every request passes. When enough of the last ones failed it opens, and none passes. After a while it is
    half open: a single request passes, and closes it by succeeding or opens it again by failing.

    Args:
        policy: When it opens, and for how long.

    >>> breaker = Breaker(BreakerPolicy(window=2, fewest=2, open_seconds=5.0))
    >>> breaker.failed(now=0.0), breaker.failed(now=0.0), breaker.state(now=1.0), breaker.allows(now=1.0)
    (None, None, 'open', False)
    >>> breaker.allows(now=5.0), breaker.allows(now=5.0)
    (True, False)
    """

    def __init__(self, policy: BreakerPolicy | None = None) -> None:
        self._policy = policy or BreakerPolicy()
        self._failures: deque[bool] = deque(maxlen=self._policy.window)
        self._failed = 0
        self._opened: float | None = None
        self._probe: float | None = None

    def state(self, *, now: float) -> State:
        """The state at a moment."""
        if self._opened is None:
            return "closed"
        return "half_open" if now - self._opened >= self._policy.open_seconds else "open"

    def allows(self, *, now: float) -> bool:
        """Whether a request may go to the arm; a half-open breaker gives way to one at a time.

        A probe whose end nobody reports (its request was cancelled) is forgotten after `open_seconds`.
        """
        if self._opened is None:
            return True
        if self.state(now=now) == "open":
            return False
        if self._probe is not None and now - self._probe < self._policy.open_seconds:
            return False
        self._probe = now
        return True

    def succeeded(self) -> None:
        """The arm answered a request that was allowed."""
        if self._opened is None:
            self._add(failure=False)
        elif self._probe is not None:  # else a request from before it opened, which says nothing of now
            self._opened = self._probe = None
            self._failures.clear()
            self._failed = 0

    def failed(self, *, now: float) -> None:
        """The arm did not answer a request that was allowed."""
        if self._opened is None:
            self._add(failure=True)
            seen = len(self._failures)
            if seen >= self._policy.fewest and self._failed >= self._policy.failure_rate * seen:
                self._opened = now
        elif self._probe is not None:
            self._opened, self._probe = now, None

    def _add(self, *, failure: bool) -> None:
        if len(self._failures) == self._policy.window:
            self._failed -= self._failures[0]
        self._failures.append(failure)
        self._failed += failure
