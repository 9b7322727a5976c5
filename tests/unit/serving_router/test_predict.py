"""Whose request goes where, and what is logged of it."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

import numpy as np
import orjson
import pytest

from serving.router.breaker import BreakerPolicy
from tests.unit.serving_router.world import BEGAN, KEY, V1, V2, World, play
from trimtab.experiments.assignment import assign_one
from trimtab.rollout.route import RoutePhase
from trimtab.sessions.privacy import pseudonym

ROW = {"lcp_ms": 1800.0, "device": "mobile"}
BODY = {"instances": [ROW]}
MANY_USERS = b",".join(b'{"user_id": %d}' % number for number in range(20))
MANY_BYTES = (
    b'{"inputs": [{"name": "user_id", "datatype": "INT8", "parameters": {"binary_data_size": 10001}}]}',
    bytes(10_001),
)


def test_a_unit_keeps_to_the_arm_of_the_pure_function(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        experiment = world.route().experiment_at(datetime.now(UTC))
        assert experiment is not None
        for number in range(40):
            unit = f"user {number}"
            arm = assign_one(pseudonym(unit, KEY), experiment)
            by_header = await world.ask(V1, BODY, unit=unit)
            by_field = await world.ask(V1, {"instances": [{**ROW, "user_id": unit}]})
            by_pseudonym = await world.ask(V1, BODY, unit=pseudonym(unit, KEY))
            assert {heard.headers["x-trimtab-arm"] for heard in (by_header, by_field, by_pseudonym)} == {arm}
            assert by_header.headers["x-trimtab-version"] == {"control": "1", "treatment": "2"}[arm]
            assert by_header.headers["x-trimtab-experiment"] == "e"
            assert by_header.json["predictions"][0]["version"] == int(by_header.headers["x-trimtab-version"])

    play(tmp_path, scene)


def test_the_body_and_the_answer_pass_unchanged(tmp_path: Path) -> None:
    body = b'{ "instances":[ {"lcp_ms":1.50, "odd":"\\u00e9"} ],"more":1}'

    async def scene(world: World) -> None:
        unit = world.unit_of("treatment")
        heard = await world.ask(V1, body, unit=unit, traceparent="00-ab-cd-01", accept_encoding="gzip")
        assert world.treatment.asked == [body]
        assert heard.body == world.treatment.answer(body)
        assert heard.headers["x-of-arm"] == "yes"
        sent = world.treatment.heard[0]
        assert sent[b"traceparent"] == b"00-ab-cd-01"
        assert sent[b"x-trimtab-unit"] == pseudonym(unit, KEY).encode()
        assert b"accept-encoding" not in sent

    play(tmp_path, scene)


def test_logs_an_exposure_of_the_pseudonym_with_what_the_answer_predicts(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        unit = world.unit_of("treatment")
        heard = await world.ask(V1, BODY, unit=unit)
        (event,) = world.memory.events
        assert (event.kind, event.experiment, event.unit) == ("exposure", "e", pseudonym(unit, KEY))
        assert (event.arm, event.version, event.segments) == ("treatment", "2", {"device": "mobile"})
        assert (event.served_by, event.fallback) == ("", "")
        assert event.probability == pytest.approx(0.25)
        assert 0 < event.latency_ms < 1_000
        assert event.id.startswith(heard.headers["x-trimtab-request-id"])
        assert abs((event.time - datetime.now(UTC)).total_seconds()) < 5

    play(tmp_path, scene)


def test_each_request_is_an_exposure_of_its_own(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        for _ in range(3):
            await world.ask(V1, BODY, unit="ann")
        assert len({event.id for event in world.memory.events}) == 3

    play(tmp_path, scene)


def test_a_body_of_several_units_is_split_by_arm_and_put_together_in_order(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        first, second = world.unit_of("control"), world.unit_of("treatment")
        instances = [{"user_id": unit, "n": n} for n, unit in enumerate([second, first, first, second, first])]
        heard = await world.ask(V1, {"instances": instances, "parameters": {"x": 1}})
        assert [row["of"]["n"] for row in heard.json["predictions"]] == [0, 1, 2, 3, 4]
        assert [row["version"] for row in heard.json["predictions"]] == [2, 1, 1, 2, 1]
        assert heard.headers["x-trimtab-arm"] == "treatment, control"
        assert heard.headers["x-trimtab-version"] == "2, 1"
        assert orjson.loads(world.control.asked[0])["parameters"] == {"x": 1}
        exposed = Counter((event.unit, event.arm) for event in world.memory.events)
        assert exposed == {
            (pseudonym(first, KEY), "control"): 1,
            (pseudonym(second, KEY), "treatment"): 1,
        }
        assert {event.arm: round(event.probability, 3) for event in world.memory.events} == {
            "control": 0.15,
            "treatment": 0.25,
        }

    play(tmp_path, scene)


def test_without_a_unit_it_splits_by_weight_and_exposes_nobody(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.publish(revision=2, phases=(RoutePhase(BEGAN, {"control": 0.2, "treatment": 0.8}),))
        arms: Counter[str] = Counter()
        for _ in range(200):
            heard = await world.ask(V1, BODY)
            arms[heard.headers["x-trimtab-arm"]] += 1
            assert heard.headers["x-trimtab-experiment"] == ""
            assert heard.headers["x-trimtab-unit"] == "absent"
        assert 130 <= arms["treatment"] <= 185  # within 5 standard deviations of 160
        assert world.memory.events == []

    play(tmp_path, scene)


def test_who_is_not_enrolled_is_answered_by_control_and_not_logged(tmp_path: Path) -> None:
    mobile = RoutePhase(BEGAN, {"control": 0.0, "treatment": 1.0}, eligible={"device": ("mobile",)})

    async def scene(world: World) -> None:
        world.publish(revision=2, phases=(mobile,))
        taking_part = await world.ask(V1, BODY, unit="ann")
        other = await world.ask(V1, {"instances": [{"device": "desktop"}]}, unit="ann")
        unknown = await world.ask(V1, {"instances": [{}]}, unit="ann")
        assert taking_part.headers["x-trimtab-arm"] == "treatment"
        for heard in (other, unknown):
            assert (heard.headers["x-trimtab-arm"], heard.headers["x-trimtab-experiment"]) == ("control", "")
        world.publish(revision=3, experiment="", phases=())
        nothing_runs = await world.ask(V1, BODY, unit="ann")
        assert nothing_runs.headers["x-trimtab-arm"] == "control"
        assert len(world.memory.events) == 1

    play(tmp_path, scene)


def test_a_phase_begins_at_its_own_time(tmp_path: Path) -> None:
    later = RoutePhase(datetime(2100, 1, 1, tzinfo=UTC), {"control": 0.0, "treatment": 1.0})

    async def scene(world: World) -> None:
        world.publish(revision=2, phases=(RoutePhase(BEGAN, {"control": 1.0, "treatment": 0.0}), later))
        heard = await world.ask(V1, BODY, unit="ann")
        assert heard.headers["x-trimtab-arm"] == "control"

    play(tmp_path, scene)


def test_an_arm_that_is_gone_is_answered_for_by_control(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        unit = world.unit_of("treatment")
        assert (await world.ask(V1, BODY, unit=unit)).headers["x-trimtab-version"] == "2"
        await world.treatment.stop()
        heard = await world.ask(V1, BODY, unit=unit)
        assert heard.status == 200
        assert heard.headers["x-trimtab-arm"] == "treatment"
        assert heard.headers["x-trimtab-served-by"] == "control"
        assert heard.headers["x-trimtab-fallback"] == "unreachable"
        assert heard.headers["x-trimtab-version"] == "1"
        event = world.memory.events[-1]
        assert (event.arm, event.served_by, event.fallback, event.version) == (
            "treatment", "control", "unreachable", "1",
        )  # fmt: skip
        assert event.probability == pytest.approx(0.15)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"seconds": 30.0}, "timeout"),
        ({"status": 500}, "error"),
        ({"status": 503}, "error"),
        ({"status": 404}, "error"),  # the model is not there, which the caller did not choose
        ({"status": 429}, "error"),
        ({"body": b"<html>"}, "error"),
        ({"body": b'{"predictions": []}'}, "error"),
        ({"body": b'{"error": "x"}'}, "error"),
    ],
)
def test_an_arm_that_fails_is_answered_for_by_control(
    tmp_path: Path, behaviour: dict[str, object], reason: str
) -> None:
    async def scene(world: World) -> None:
        for name, value in behaviour.items():
            setattr(world.treatment, name, value)
        if reason == "timeout":
            world.publish(revision=2, timeout_ms=500.0)
        heard = await world.ask(V1, BODY, unit=world.unit_of("treatment"))
        assert (heard.status, heard.headers["x-trimtab-fallback"]) == (200, reason)
        assert world.memory.events[-1].fallback == reason

    play(tmp_path, scene)


def test_an_arm_that_keeps_failing_is_left_alone_and_asked_again_later(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        unit = world.unit_of("treatment")
        world.treatment.status = 500
        reasons = [(await world.ask(V1, BODY, unit=unit)).headers["x-trimtab-fallback"] for _ in range(6)]
        assert reasons == ["error"] * 4 + ["open_circuit"] * 2
        assert len(world.treatment.asked) == 4
        world.treatment.status = 200
        await asyncio.sleep(0.25)
        heard = await world.ask(V1, BODY, unit=unit)
        assert "x-trimtab-fallback" not in heard.headers
        assert heard.headers["x-trimtab-version"] == "2"

    play(tmp_path, scene, policy=BreakerPolicy(fewest=4, open_seconds=0.2))


def test_a_connection_that_turns_out_closed_is_replaced(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.treatment.close_after = True
        unit = world.unit_of("treatment")
        for _ in range(5):
            heard = await world.ask(V1, BODY, unit=unit)
            assert "x-trimtab-fallback" not in heard.headers
        assert world.treatment.connections == 5
        world.treatment.close_after = False
        for _ in range(5):
            await world.ask(V1, BODY, unit=unit)
        assert world.treatment.connections == 6

    play(tmp_path, scene)


def test_a_refusal_of_the_callers_request_is_passed_on_and_exposes_nobody(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.treatment.status, world.treatment.body = 400, b'{"error": "lcp_ms is text"}'
        heard = await world.ask(V1, BODY, unit=world.unit_of("treatment"))
        assert (heard.status, heard.json) == (400, {"error": "lcp_ms is text"})
        assert world.memory.events == []
        assert world.control.asked == []

    play(tmp_path, scene)


def test_control_is_asked_again_but_no_treatment_answers_for_it(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        unit = world.unit_of("control")
        world.control.status = 500
        heard = await world.ask(V1, BODY, unit=unit)
        assert (heard.status, heard.headers["retry-after"]) == (503, "1")
        assert "control" in heard.json["error"]
        assert (len(world.control.asked), world.treatment.asked) == (2, [])
        assert world.memory.events == []
        world.control.status, world.control.seconds = 200, 30.0
        world.publish(revision=2, timeout_ms=300.0)
        assert (await world.ask(V1, BODY, unit=unit)).status == 504

    play(tmp_path, scene)


def test_requests_that_get_no_answer_are_counted(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        async def counted() -> dict[str, float]:
            lines = (await world.ask("/metrics", method="GET")).body.decode().splitlines()
            found = (line.rpartition(" ") for line in lines if line.startswith("trimtab_router_requests_total{"))
            return {name: float(value) for name, _, value in found}

        unit = world.unit_of("treatment")
        before = await counted()
        await world.control.stop()
        await world.treatment.stop()
        assert (await world.ask(V1, BODY, unit=unit)).status == 503
        assert (await world.ask(V1, b"{")).status == 400
        after = await counted()
        for labels in (
            'arm="treatment",model="shop",status="5xx"',
            'arm="",model="shop",status="4xx"',
        ):
            name = f"trimtab_router_requests_total{{{labels}}}"
            assert after[name] == before.get(name, 0.0) + 1

    play(tmp_path, scene)


def test_without_an_experiment_another_arm_of_the_same_version_steps_in(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        same = {name: target.__class__(target.url, "m", 1) for name, target in world.route().arms.items()}
        world.publish(revision=2, experiment="", phases=(), arms=same)
        world.control.status = 500
        heard = await world.ask(V1, BODY, unit="ann")
        assert (heard.status, heard.headers["x-trimtab-served-by"]) == (200, "treatment")
        assert heard.headers["x-trimtab-fallback"] == "error"

    play(tmp_path, scene)


def test_v2_as_json(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        unit = world.unit_of("treatment")
        tensors = [
            {"name": "user_id", "datatype": "BYTES", "shape": [1], "data": [unit]},
            {"name": "device", "datatype": "BYTES", "shape": [1], "data": ["desktop"]},
        ]
        heard = await world.ask(V2, {"inputs": tensors})
        assert heard.headers["x-trimtab-arm"] == "treatment"
        by_parameter = await world.ask(V2, {"inputs": [], "parameters": {"user_id": unit}})
        assert by_parameter.headers["x-trimtab-arm"] == "treatment"
        event = world.memory.events[0]
        assert event.segments == {"device": "desktop"}
        assert event.probability == pytest.approx(0.25)

    play(tmp_path, scene)


def test_v2_with_binary_data_passes_unchanged(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        unit = world.unit_of("treatment").encode()
        numbers, text = np.array([1.5]).tobytes(), len(unit).to_bytes(4, "little") + unit
        tensors = [
            {"name": "lcp_ms", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": len(numbers)}},
            {"name": "user_id", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(text)}},
        ]
        document = orjson.dumps({"inputs": tensors})
        world.treatment.body = orjson.dumps({"outputs": []})
        heard = await world.ask(V2, document + numbers + text, inference_header_content_length=str(len(document)))
        assert (heard.status, heard.headers["x-trimtab-arm"]) == (200, "treatment")
        assert world.treatment.asked == [document + numbers + text]
        assert world.treatment.heard[0][b"inference-header-content-length"] == str(len(document)).encode()
        assert isnan(world.memory.events[0].probability)  # this answer states none

    play(tmp_path, scene)


def test_v2_of_several_units_is_refused(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        tensor = {"name": "user_id", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}
        heard = await world.ask(V2, {"inputs": [tensor]})
        assert heard.status == 400
        assert "2 units" in heard.json["error"]

    play(tmp_path, scene)


def test_a_shadow_arm_gets_copies_that_answer_nobody(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.publish(
            revision=2,
            shadow="treatment",
            phases=(RoutePhase(BEGAN, {"control": 1.0, "treatment": 0.0}),),
        )
        world.treatment.seconds = 0.1
        heard = await world.ask(V1, BODY, unit="ann")
        assert heard.headers["x-trimtab-arm"] == "control"
        assert [event.kind for event in world.memory.events] == ["exposure"]  # nobody waited for the shadow
        await asyncio.sleep(0.2)
        shadow = world.memory.events[1]
        assert (shadow.kind, shadow.arm, shadow.version, shadow.fallback) == ("shadow", "treatment", "2", "")
        assert shadow.probability == pytest.approx(0.25)
        assert shadow.latency_ms >= 100
        world.treatment.status = 500
        await world.ask(V1, BODY, unit="ann")
        await asyncio.sleep(0.2)
        assert world.memory.events[-1].fallback == "error"

    play(tmp_path, scene)


def test_a_slow_shadow_drops_copies_and_delays_nobody(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.publish(
            revision=2,
            shadow="treatment",
            phases=(RoutePhase(BEGAN, {"control": 1.0, "treatment": 0.0}),),
            timeout_ms=60_000.0,
        )
        world.treatment.seconds = 30.0
        for _ in range(40):
            assert (await world.ask(V1, BODY, unit="ann")).status == 200
        await asyncio.sleep(0.02)
        assert len(world.treatment.asked) <= 12  # 8 under way; 4 wait
        metrics = (await world.ask("/metrics", method="GET")).body.decode()
        assert 'trimtab_router_shadows_total{model="shop",result="dropped"}' in metrics

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        (V1, b"{", {}, 400),
        (V1, b"[1]", {}, 400),
        (V1, b"\xff\xfe", {}, 400),
        (V1, b'{"instances": [NaN]}', {}, 400),
        (V1, b'{"instances": [{"user_id": ["a"]}]}', {}, 400),
        (V1, orjson.dumps({"instances": [{"user_id": "x" * 300}]}), {}, 400),
        (V1, orjson.dumps({"instances": [0] * 10_001}), {}, 400),
        (V1, orjson.dumps({"instances": [0] * 10_001}), {"x_trimtab_unit": "ann"}, 400),
        (V1, b'{"a": %b, "instances": [%b]}' % (b"[" * 300 + b"]" * 300, MANY_USERS), {}, 400),
        (V2, orjson.dumps({"inputs": [0] * 10_001}), {}, 400),
        (V2, orjson.dumps({"inputs": [{"name": "user_id", "data": [1] * 10_001}]}), {}, 400),
        (V2, MANY_BYTES[0] + MANY_BYTES[1], {"inference_header_content_length": str(len(MANY_BYTES[0]))}, 400),
        (V1, b"{}", {"content_encoding": "gzip"}, 415),
        (V2, b"{}", {"inference_header_content_length": "9"}, 400),
        (V2, b"{}", {"inference_header_content_length": "-1"}, 400),
        (V2, b'{"inputs": [{"name": "a", "parameters": {"binary_data_size": 99}}]}', {}, 400),
        ("/v1/models/other:predict", b"{}", {}, 404),
        ("/v2/models/shop/versions/1/infer", b"{}", {}, 404),
        (V1, b"x" * 3_000_000, {}, 413),
    ],
)
def test_a_wrong_request_is_refused_with_a_reason(
    tmp_path: Path, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    async def scene(world: World) -> None:
        heard = await world.ask(path, body, **headers)
        assert heard.status == status, heard.body
        assert heard.json["error"]
        assert world.control.asked == world.treatment.asked == []

    play(tmp_path, scene)
