"""A lease among rivals, the leader that renews it, and the endpoint that says whether a controller lives."""

import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trimtab.adapters.kubernetes import Objects, connect
from trimtab.adapters.kubernetes_lease import LEASES, KubernetesLease
from trimtab.controller.health import Pulse, health_endpoint
from trimtab.controller.leader import await_lead, leading
from trimtab.errors import BadInput, Unavailable
from trimtab.testing.kubernetes_double import KubernetesDouble, kubernetes_double

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = ("leases", "default", "trimtab-controller")
LeaseOf = Callable[[str], KubernetesLease]


@pytest.fixture
def cluster() -> Iterator[KubernetesDouble]:
    with kubernetes_double() as found:
        yield found


@pytest.fixture
def lease_of(cluster: KubernetesDouble, tmp_path: Path) -> LeaseOf:
    api = connect(kubeconfig=str(cluster.kubeconfig(tmp_path / "config")))
    objects = Objects(api, LEASES, namespace="default", pause_seconds=0.01)
    return lambda holder: KubernetesLease(objects, name="trimtab-controller", holder=holder)


def test_one_holds_it_and_renews_it(cluster: KubernetesDouble, lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    assert first.claim(now=NOW)
    assert not second.claim(now=NOW)
    assert first.claim(now=NOW + timedelta(seconds=10))
    spec = cluster.objects[KEY]["spec"]
    assert spec["holderIdentity"] == "first"
    assert spec["renewTime"] == "2026-03-01T00:00:10.000000Z"
    assert spec["acquireTime"] == "2026-03-01T00:00:00.000000Z"


def test_it_is_taken_once_it_was_not_renewed_for_its_term(cluster: KubernetesDouble, lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    first.claim(now=NOW)
    assert not second.claim(now=NOW)
    assert not second.claim(now=NOW + timedelta(seconds=29))
    assert second.claim(now=NOW + timedelta(seconds=30))
    assert not first.claim(now=NOW + timedelta(seconds=31))
    assert cluster.objects[KEY]["spec"]["leaseTransitions"] == 1


def test_a_rival_s_clock_does_not_matter(lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    first.claim(now=NOW)
    fast = NOW + timedelta(hours=1)
    assert not second.claim(now=fast)
    first.claim(now=NOW + timedelta(seconds=20))
    assert not second.claim(now=fast + timedelta(seconds=40))


def test_a_renewal_starts_the_rival_s_wait_anew(lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    first.claim(now=NOW)
    second.claim(now=NOW)
    first.claim(now=NOW + timedelta(seconds=25))
    assert not second.claim(now=NOW + timedelta(seconds=35))


def test_what_is_given_up_is_free_at_once(lease_of: LeaseOf) -> None:
    first, second = lease_of("first"), lease_of("second")
    first.let_go()  # nobody's yet
    first.claim(now=NOW)
    second.let_go()  # not its own
    assert not second.claim(now=NOW)
    first.let_go()
    assert second.claim(now=NOW)


def test_a_write_that_came_between_is_not_lost(cluster: KubernetesDouble, lease_of: LeaseOf) -> None:
    first = lease_of("first")
    first.claim(now=NOW)
    cluster.rivals = 1
    assert first.claim(now=NOW + timedelta(seconds=5))
    assert cluster.objects[KEY]["metadata"]["annotations"] == {"rival": "0"}


class Paper:
    """A lease whose answers are written down."""

    def __init__(self, *answers: bool, seconds: float = 0.3) -> None:
        self._answers = list(answers)
        self.term = timedelta(seconds=seconds)
        self.gone = False

    def claim(self, *, now: datetime) -> bool:
        """The next answer; unreachable after the last one."""
        if not self._answers:
            raise Unavailable("the API is away.")
        return self._answers.pop(0)

    def let_go(self) -> None:
        """Note it."""
        self.gone = True


def test_a_follower_waits_until_it_leads() -> None:
    assert await_lead(Paper(False, False, True), stop=threading.Event())


def test_a_follower_that_is_told_to_stop_does_not_lead() -> None:
    stop = threading.Event()
    stop.set()
    assert not await_lead(Paper(True), stop=stop)


@pytest.mark.parametrize("answers", [(False,) * 50, ()], ids=["taken", "unreachable"])
def test_a_leader_that_cannot_renew_ends(answers: tuple[bool, ...]) -> None:
    lease, lost, abandoned = Paper(*answers), threading.Event(), threading.Event()
    with leading(lease, lost=lost.set, abandon=abandoned.set):
        assert lost.wait(10)
    assert lease.gone


class Hanging(Paper):
    """A lease whose renewal is not answered until the test is over."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = threading.Event()

    def claim(self, *, now: datetime) -> bool:
        """Wait."""
        self.answer.wait(60)
        raise Unavailable("the API did not answer.")


class Broken(Paper):
    """A lease that fails in a way that nobody foresaw."""

    def claim(self, *, now: datetime) -> bool:
        """Fail."""
        raise BadInput("the account may not update leases.")


def test_a_leader_whose_renewal_hangs_ends_all_the_same() -> None:
    lease, lost, abandoned = Hanging(), threading.Event(), threading.Event()
    with leading(lease, lost=lost.set, abandon=abandoned.set):
        assert lost.wait(10)
        assert not lease.answer.is_set()
        lease.answer.set()


def test_a_leader_that_may_not_renew_any_more_ends() -> None:
    lost = threading.Event()
    with leading(Broken(), lost=lost.set, abandon=lambda: None):
        assert lost.wait(10)


def test_a_leader_that_is_still_at_work_when_its_term_is_over_is_ended_after_it_was_told() -> None:
    told: list[str] = []
    abandoned = threading.Event()

    def abandon() -> None:
        told.append("abandoned")
        abandoned.set()

    with leading(Paper(), lost=lambda: told.append("lost"), abandon=abandon):
        assert abandoned.wait(10)
    assert told == ["lost", "abandoned"]


@pytest.mark.slow
def test_a_process_that_lost_the_lease_acts_no_more() -> None:
    """The work of its handlers, threads that nothing can interrupt, ends with it."""
    program = """
import threading, time
from datetime import timedelta
from trimtab.controller.leader import leading
from trimtab.errors import BadInput, Unavailable

class Away:
    term = timedelta(seconds=1)
    def claim(self, *, now):
        raise Unavailable("away.")
    def let_go(self):
        pass

with leading(Away(), lost=lambda: print("lost", flush=True)):
    time.sleep(60)
    print("acted", flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, ended.stdout) == (1, "lost\n")


def test_a_leader_that_renews_goes_on() -> None:
    lost = threading.Event()
    with leading(Paper(*[True] * 100, seconds=1.5), lost=lost.set, abandon=lambda: None):
        assert not lost.wait(1.3)


def test_a_follower_and_a_leader_live_and_a_loop_that_hangs_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pulse = Pulse()
    with health_endpoint(pulse, bytes, host="127.0.0.1", port=0) as port:
        assert _status(port, "/healthz") == 200  # it waits for the lease
        pulse.beat()
        assert _status(port, "/healthz") == 200
        monkeypatch.setattr("trimtab.controller.health._STALE_SECONDS", 0.0)
        assert _status(port, "/healthz") == 503
        assert _status(port, "/secrets") == 404


def _status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_port_that_is_taken_is_named() -> None:
    with (
        health_endpoint(Pulse(), lambda: b"", host="127.0.0.1", port=0) as port,
        pytest.raises(BadInput, match=f"listen at 127.0.0.1:{port}: Address already in use"),
        health_endpoint(Pulse(), lambda: b"", host="127.0.0.1", port=port),
    ):
        pass


def test_a_port_that_there_is_not_is_named() -> None:
    with (
        pytest.raises(BadInput, match=r"listen at 127\.0\.0\.1:80810: .*port must be"),
        health_endpoint(Pulse(), bytes, host="127.0.0.1", port=80810),
    ):
        pass
