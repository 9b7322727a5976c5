"""The breaker on a clock of its own."""

from serving.router.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(window=10, fewest=4, failure_rate=0.5, open_seconds=2.0)


def _opened() -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(4):
        breaker.failed(now=0.0)
    return breaker


def test_opens_only_once_enough_requests_failed() -> None:
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.failed(now=0.0)
    assert breaker.state(now=0.0) == "closed"
    breaker.failed(now=0.0)
    assert breaker.state(now=0.0) == "open"
    assert not breaker.allows(now=1.9)


def test_a_low_rate_of_failures_never_opens_it() -> None:
    breaker = Breaker(POLICY)
    for number in range(200):
        breaker.failed(now=0.0) if number % 3 == 2 else breaker.succeeded()
    assert breaker.state(now=0.0) == "closed"


def test_forgets_failures_that_left_the_window() -> None:
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.failed(now=0.0)
    for _ in range(10):
        breaker.succeeded()
    breaker.failed(now=0.0)
    assert breaker.state(now=0.0) == "closed"


def test_half_open_lets_one_request_probe() -> None:
    breaker = _opened()
    assert breaker.state(now=2.0) == "half_open"
    assert [breaker.allows(now=2.0) for _ in range(3)] == [True, False, False]


def test_a_good_probe_closes_it_and_a_bad_one_opens_it_again() -> None:
    breaker = _opened()
    assert breaker.allows(now=2.0)
    breaker.failed(now=2.1)
    assert not breaker.allows(now=4.0)
    assert breaker.allows(now=4.2)
    breaker.succeeded()
    assert breaker.state(now=4.2) == "closed"
    assert breaker.allows(now=4.2)
    assert breaker.allows(now=4.2)


def test_answers_from_before_it_opened_say_nothing() -> None:
    breaker = _opened()
    breaker.succeeded()
    assert breaker.state(now=0.5) == "open"
    breaker.failed(now=1.5)
    assert breaker.state(now=2.0) == "half_open"


def test_a_probe_that_nobody_reports_is_forgotten() -> None:
    breaker = _opened()
    assert breaker.allows(now=2.0)
    assert not breaker.allows(now=3.9)
    assert breaker.allows(now=4.0)
