"""A resource from one call to the next over a real store, event log and routes: all that the controller decides."""

import errno
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.unit.controller.users import come
from trimtab.controller.reconcile import Outcome, pause, reconcile, refused, release
from trimtab.errors import BadInput, Unavailable
from trimtab.rollout.audit import AuditEntry
from trimtab.rollout.plan import CONTROL, TREATMENT
from trimtab.rollout.resource import read_metadata, read_resource
from trimtab.steps import rollout
from trimtab.testing.ports import StepPorts
from trimtab.testing.shop import shop_bundle, shop_sessions, shop_spec
from trimtab.types import Endpoint, ModelVersion


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, spec = np.random.default_rng(4), shop_spec(users=False)
    return shop_bundle(tmp_path_factory.mktemp("bundle") / "shop", shop_sessions(rng, spec), spec, rng=rng)


@pytest.fixture
def ports(tmp_path: Path, bundle: Path) -> StepPorts:
    found = StepPorts(tmp_path)
    found.registry.put("shop", 1, bundle, "champion")
    found.registry.put("shop", 2, bundle, "challenger")
    return found


class Resource:
    """A resource in the API: whoever applies, annotates and deletes it, and the status that the controller writes."""

    def __init__(self, ports: StepPorts, name: str = "checkout", **changes: Any) -> None:
        self.ports = ports
        self.body: dict[str, Any] = {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelExperiment",
            "metadata": {
                "name": name,
                "namespace": "default",
                "generation": 1,
                "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "annotations": {},
            },
            "spec": {
                "model": "shop",
                "plannedUnits": 4_000,
                "windowHours": 1 / 3_600,
                "reportingMinutes": 0,
                "ramp": [{"weight": 0.25, "units": 200}, {"weight": 0.5}],
                "looks": {"units": 900},
                "leadSeconds": 0,
                "timeoutMs": 1,
                "experiment": {"metrics": {"conversion": {"kind": "binary", "column": "conversion"}}},
                **changes,
            },
        }

    def seen(self, *, later: timedelta = timedelta()) -> Outcome:
        """The controller's call, whose outcome the API keeps."""
        return self._kept(reconcile(read_resource(self.body), self.ports.as_ports(), now=datetime.now(UTC) + later))

    def unreadable(self) -> Outcome:
        """The controller's call where the specification is not valid."""
        with pytest.raises(BadInput) as caught:
            read_resource(self.body)
        metadata = read_metadata(self.body)
        return self._kept(refused(metadata, caught.value, self.ports.as_ports(), now=datetime.now(UTC)))

    def deleted(self, *, later: timedelta = timedelta()) -> Outcome:
        """A call after the resource was deleted."""
        return self._kept(release(read_metadata(self.body), self.ports.as_ports(), now=datetime.now(UTC) + later))

    def ask(self, kind: str) -> None:
        """Annotate a command."""
        self.body["metadata"]["annotations"] = {
            "trimtab.dev/command": kind,
            "trimtab.dev/by": "ann",
            "trimtab.dev/reason": "wrong prices",
        }

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = {one["type"]: one for one in self.body["status"]["conditions"]}[kind]
        return found["status"], found["reason"]

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.body["status"]
        return found

    def _kept(self, outcome: Outcome) -> Outcome:
        self.body["status"] = dict(outcome.status)
        if outcome.answered:
            self.body["metadata"]["annotations"] = {}
        return outcome


def driven(found: Resource, *, calls: int = 40, **rates: float) -> Outcome:
    """Calls and users in turn until it is decided."""
    for call in range(calls):
        outcome = found.seen()
        if found.condition("Decided")[0] == "True":
            return outcome
        if call:
            come(found.ports, call * 2_000, 2_000, **rates)
    pytest.fail("the experiment does not end")


def test_from_the_first_call_to_the_verdict(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    assert found.status["phase"] == "Pending"
    assert (found.status["controlVersion"], found.status["treatmentVersion"]) == (1, 2)
    assert found.condition("Ready") == ("False", "Deploying")
    found.seen()
    assert (found.status["phase"], found.status["step"], found.status["weight"]) == ("Ramping", "1/2", 0.25)
    assert found.condition("Ready") == ("True", "Converged")
    assert [arm["name"] for arm in found.status["arms"]] == [CONTROL, TREATMENT]
    driven(found)
    assert (found.status["phase"], found.status["verdict"]) == ("Shipped", "ship")
    assert found.status["lift"].startswith("+")
    assert found.status["effect"]["low"] < found.status["effect"]["estimate"] < found.status["effect"]["high"]
    assert found.status["looks"][-1]["statistic"] > found.status["looks"][-1]["goodBound"]
    assert found.condition("Progressing") == ("False", "Decided")
    assert ports.registry.resolve("shop", "champion").version == 2

    told = ("phase", "verdict", "lift", "looks", "reasons", "controlVersion", "arms", "step", "weight")
    before = found.body.pop("status")  # somebody lost it, and the arm
    ports.arms.remove("checkout-treatment")
    found.seen()
    assert {key: found.status[key] for key in told} == {key: before[key] for key in told}
    assert "checkout-treatment" in ports.arms.running


def test_each_decision_is_an_event_once(ports: StepPorts) -> None:
    found = Resource(ports)
    reasons = [notice.reason for _ in range(4) for notice in found.seen().notices]
    assert reasons == ["Started", "StartRamp"]


def test_a_decision_that_the_world_cannot_follow_yet_is_an_event_all_the_same(
    ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: ModelVersion, *, arm: str) -> Endpoint:
        raise Unavailable(f"arm '{arm}' has no node.")

    found = Resource(ports)
    found.seen()
    found.seen()
    found.ask("abort")
    with monkeypatch.context() as patched:
        patched.setattr(ports.arms, "deploy", broken)
        outcome = found.seen()
    assert outcome.failed
    assert [notice.reason for notice in outcome.notices] == ["Abort", "Unavailable"]
    assert found.seen().notices == ()
    assert found.status["phase"] == "Aborted"


def test_a_worse_version_is_taken_back_with_a_warning(ports: StepPorts) -> None:
    found = Resource(ports)
    outcome = driven(found, control=0.25, treatment=0.10)
    assert (found.status["phase"], found.status["verdict"]) == ("RolledBack", "roll_back")
    assert [(notice.kind, notice.reason) for notice in outcome.notices] == [("Warning", "RollBack")]


def test_a_controller_that_died_before_it_wrote_the_status_goes_on(ports: StepPorts) -> None:
    found = Resource(ports)
    for _ in range(2):
        found.seen()
    come(ports, 0, 2_000)
    reconcile(read_resource(found.body), ports.as_ports(), now=datetime.now(UTC))  # its status is lost
    found.seen()
    assert [look["number"] for look in found.status["looks"]] == [1]
    assert ports.rollouts.state("checkout").step == 1


def test_another_plan_is_refused_and_the_old_one_goes_on_with_its_guardrails(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.seen()
    found.body["spec"]["plannedUnits"] = 5_000
    outcome = found.seen()
    assert [(notice.kind, notice.reason) for notice in outcome.notices] == [("Warning", "SpecChanged")]
    assert found.condition("Ready") == ("False", "SpecChanged")
    assert found.status["phase"] == "Ramping"
    assert found.seen().notices == ()  # said once
    driven(found, control=0.25, treatment=0.10)
    assert found.status["phase"] == "RolledBack"
    assert ports.rollouts.plan("checkout").planned_units == 4_000


def test_a_plan_that_is_the_old_one_again_is_ready(ports: StepPorts) -> None:
    found = Resource(ports)
    for planned in (4_000, 5_000, 4_000):
        found.body["spec"]["plannedUnits"] = planned
        found.seen()
        found.seen()
    assert found.condition("Ready") == ("True", "Converged")


def test_a_changed_experiment_can_still_be_aborted(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.seen()
    found.body["spec"]["plannedUnits"] = 5_000
    found.ask("abort")
    found.seen()
    assert found.status["phase"] == "Aborted"


def test_what_the_api_adds_as_defaults_is_no_change(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.body["spec"] |= {"control": "champion", "maximumDays": 28, "service": {}, "unitField": "", "suspend": False}
    found.seen()
    assert found.condition("Ready") == ("True", "Converged")


def test_a_command_by_annotation_is_obeyed_and_taken_off(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.seen()
    found.ask("promote")
    outcome = found.seen()
    assert outcome.answered
    assert found.status["phase"] == "Shipped"
    assert found.status["reasons"] == [
        "Promoted by ann: wrong prices No look has shown that the treatment is better.",
    ]


def test_a_command_that_nobody_took_off_is_obeyed_once(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.ask("abort")
    reconcile(read_resource(found.body), ports.as_ports(), now=datetime.now(UTC))  # died before the patch
    outcome = found.seen()
    assert outcome.answered
    assert [notice.reason for notice in outcome.notices] == ["CommandTooLate"]
    assert found.status["phase"] == "Aborted"


def test_an_unknown_command_is_told_and_taken_off(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.ask("ship-it")
    outcome = found.seen()
    assert outcome.answered
    assert outcome.notices[0].reason == "UnknownCommand"
    assert found.status["phase"] == "Ramping"


def test_suspended_before_the_start_it_does_not_start(ports: StepPorts) -> None:
    found = Resource(ports, suspend=True)
    assert not found.seen().failed
    assert found.condition("Progressing") == ("False", "Suspended")
    assert ports.rollouts.names() == []


def test_suspended_before_the_arms_are_there_it_waits(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.body["spec"]["suspend"] = True
    found.seen()
    assert found.status["phase"] == "Waiting"
    assert found.condition("Progressing") == ("False", "Suspended")
    found.body["spec"]["suspend"] = False
    found.seen()
    found.seen()
    assert found.status["phase"] == "Ramping"


def test_suspended_it_decides_nothing_but_obeys(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.seen()
    found.body["spec"]["suspend"] = True
    come(ports, 0, 3_000)
    found.seen()
    assert found.condition("Progressing") == ("False", "Suspended")
    assert ports.rollouts.state("checkout").looks == ()
    assert [arm["name"] for arm in found.status["arms"]] == [CONTROL, TREATMENT]
    found.ask("abort")
    found.seen()
    assert found.status["phase"] == "Aborted"


def test_the_second_experiment_of_a_model_waits_for_the_first_to_be_drained(ports: StepPorts) -> None:
    first, second = Resource(ports), Resource(ports, "second")
    first.seen()
    outcome = second.seen()
    assert not outcome.failed
    assert second.condition("Ready") == ("False", "Waiting")
    assert second.status["phase"] == "Waiting"
    first.ask("abort")
    first.seen()
    ports.hearing = timedelta(seconds=30)
    second.seen()
    assert second.condition("Ready") == ("False", "Waiting")  # drained
    second.seen(later=timedelta(minutes=1))
    assert second.status["phase"] == "Pending"


def test_the_first_leaves_the_second_s_route_alone_and_its_own_arm_goes(ports: StepPorts) -> None:
    first, second = Resource(ports), Resource(ports, "second")
    first.seen()
    first.ask("abort")
    first.seen()
    for _ in range(2):
        second.seen(later=timedelta(minutes=1))
    route = ports.routes.get("shop")
    assert route is not None
    assert route.experiment == "second"
    assert "checkout-control" in ports.arms.running
    first.seen()
    assert first.status["superseded"]
    assert ports.routes.get("shop") == route
    assert first.seen(later=timedelta(minutes=2)).done
    assert ports.arms.running == {"second-control", "second-treatment"}
    assert first.condition("Ready") == ("True", "Superseded")
    assert first.status["phase"] == "Aborted"


def test_a_missing_version_is_a_condition_until_it_is_there(ports: StepPorts, bundle: Path) -> None:
    found = Resource(ports, treatment="3")
    outcome = found.seen()
    assert "no version '3'" in outcome.failed
    assert found.condition("Ready") == ("False", "NotFound")
    ports.registry.put("shop", 3, bundle)
    found.seen()
    assert found.status["treatmentVersion"] == 3


def test_the_name_of_an_earlier_experiment_is_not_taken_again(ports: StepPorts) -> None:
    before = Resource(ports)
    before.seen()
    before.deleted()
    again = Resource(ports)
    again.body["metadata"]["creationTimestamp"] = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    assert "Choose another name" in again.seen().failed
    assert again.condition("Ready") == ("False", "NameTaken")
    assert again.deleted().done  # it may go, and nothing happens to the other's arm
    assert "checkout-control" in ports.arms.running


def test_deleted_it_leads_users_away_before_the_arm_goes(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.seen()
    ports.hearing = timedelta(seconds=30)
    assert not found.deleted().done
    route = ports.routes.get("shop")
    assert route is not None
    assert (set(route.arms), route.experiment) == ({CONTROL}, "")
    assert "checkout-treatment" in ports.arms.running  # routers may still send it requests
    assert found.status["phase"] == "Aborted"
    assert "the ModelExperiment was deleted" in found.status["reasons"][0]


def test_an_event_log_that_is_away_holds_up_no_deletion(ports: StepPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> NoReturn:
        raise Unavailable("the event log does not answer.")

    found = Resource(ports)
    found.seen()
    found.seen()
    monkeypatch.setattr(ports.events, "service_levels", away)
    assert found.seen().failed  # deciding needs it
    found.deleted()
    assert found.status["phase"] == "Aborted"
    time.sleep(0.01)  # twice the timeout of a request
    assert found.deleted().done


def test_deleted_before_it_started_it_goes_at_once(ports: StepPorts) -> None:
    assert Resource(ports).deleted().done


def test_a_server_that_does_not_start_is_tried_again(ports: StepPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Resource(ports)
    found.seen()

    def broken(model: ModelVersion, *, arm: str) -> Endpoint:
        raise Unavailable(f"arm '{arm}' has no node.")

    with monkeypatch.context() as patched:
        patched.setattr(ports.arms, "deploy", broken)
        outcome = found.seen()
    assert "has no node" in outcome.failed
    assert found.condition("Ready") == ("False", "Unavailable")
    assert found.condition("Progressing") == ("True", "Unavailable")
    found.seen()
    assert found.condition("Ready") == ("True", "Converged")


def test_another_process_that_drives_it_is_waited_for(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    with ports.rollouts.driving("checkout"):
        assert "another process drives" in found.seen().failed
        assert "another process drives" in found.deleted().failed


def test_a_rollout_of_the_command_line_is_taken_over(ports: StepPorts) -> None:
    found = Resource(ports)
    resource = read_resource(found.body)
    rollout.start(resource.plan, ports.as_ports())
    found.seen()
    assert found.status["phase"] == "Ramping"


def test_an_invalid_specification_says_what_is_wrong_and_keeps_the_rest(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.body["spec"]["ramp"] = []
    outcome = found.unreadable()
    assert not outcome.failed  # only a person can mend it
    assert found.status["phase"] == "Pending"
    assert found.condition("Ready") == ("False", "Invalid")
    assert [notice.reason for notice in outcome.notices] == ["Invalid"]
    assert found.unreadable().notices == ()


def test_an_invalid_specification_can_still_be_aborted(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.seen()
    found.body["spec"]["ramp"] = []
    found.ask("abort")
    assert found.unreadable().answered
    assert found.status["phase"] == "Aborted"
    route = ports.routes.get("shop")
    assert route is not None
    assert set(route.arms) == {CONTROL}


def test_what_is_being_deleted_is_not_started(ports: StepPorts) -> None:
    """Its finalizer may be gone already: nobody would ever end the rollout, and its model's next one would wait."""
    found = Resource(ports)
    outcome = reconcile(read_resource(found.body), ports.as_ports(), now=datetime.now(UTC), wanted=lambda: False)
    assert not outcome.failed
    assert ports.rollouts.names() == []


def test_a_volume_that_is_full_is_a_condition(ports: StepPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Resource(ports)
    found.seen()

    def full(name: str, entry: AuditEntry) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(ports.rollouts, "record", full)
        assert "No space left on device" in found.seen().failed
        assert found.condition("Ready") == ("False", "Unavailable")
        assert "No space left on device" in found.deleted().failed
    found.deleted()
    assert found.status["phase"] == "Aborted"


def test_transition_times_change_with_the_condition_alone(ports: StepPorts) -> None:
    found = Resource(ports)
    found.seen()
    found.seen()
    before = {one["type"]: one["lastTransitionTime"] for one in found.status["conditions"]}
    found.seen(later=timedelta(hours=1))
    assert {one["type"]: one["lastTransitionTime"] for one in found.status["conditions"]} == before
    found.ask("abort")
    found.seen(later=timedelta(hours=1))
    after = {one["type"]: one["lastTransitionTime"] for one in found.status["conditions"]}
    assert {kind for kind in after if after[kind] != before[kind]} == {"Progressing", "Decided"}


def test_a_tracker_that_is_away_hides_no_decision_and_holds_up_no_deletion(
    ports: StepPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> NoReturn:
        raise Unavailable("the tracker does not answer.")

    found = Resource(ports)
    found.seen()
    with monkeypatch.context() as patched:
        patched.setattr(ports.tracker, "run", away)
        outcome = found.seen()
        assert found.status["phase"] == "Ramping"
        assert found.condition("Ready") == ("False", "Untracked")
        assert [notice.reason for notice in outcome.notices] == ["StartRamp", "Untracked"]
        assert not outcome.failed  # nothing is mended by trying again sooner
        assert found.seen().notices == ()
    found.seen()
    assert found.condition("Ready") == ("True", "Converged")
    monkeypatch.setattr(ports.tracker, "run", away)
    found.deleted()
    time.sleep(0.01)  # twice the timeout of a request
    assert found.deleted().done
    assert "checkout-treatment" not in ports.arms.running


def test_failures_are_tried_again_ever_more_rarely() -> None:
    waits = [pause(attempt) for attempt in range(8)]
    assert waits[0] == timedelta(seconds=5)
    assert waits == sorted(waits)
    assert pause(10_000) == timedelta(minutes=5)


def test_the_namespace_and_annotations_are_read(ports: StepPorts) -> None:
    metadata = read_metadata(Resource(ports).body)
    assert (metadata.name, metadata.namespace, metadata.generation) == ("checkout", "default", 1)
    assert replace(metadata, annotations={}).command(now=datetime.now(UTC)) is None
