"""Reports of apps, in every mode of CloudEvents."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.unit.serving_router.world import KEY, World, play
from trimtab.sessions.privacy import pseudonym

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def report(**changes: Any) -> dict[str, Any]:
    """A purchase, with changes of the event; `data` is merged."""
    data = {"unit": "ann", "metric": "revenue", "value": 12.5, **changes.pop("data", {})}
    told = {"specversion": "1.0", "id": "7", "source": "urn:shop", "type": "outcome", "time": "2026-03-01T12:00:00Z"}
    return {**told, "data": data, **changes}


def test_a_structured_event_is_logged_under_a_pseudonym(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        heard = await world.ask("/outcomes", report(), content_type=STRUCTURED)
        assert (heard.status, heard.json) == (202, {"accepted": 1, "rejected": []})
        (event,) = world.memory.events
        assert (event.kind, event.experiment, event.metric, event.value) == ("outcome", "e", "revenue", 12.5)
        assert event.unit == pseudonym("ann", KEY)
        assert event.time == datetime(2026, 3, 1, 12, tzinfo=UTC)

    play(tmp_path, scene)


def test_an_outcome_joins_the_exposure_of_its_unit(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.ask("/v1/models/shop:predict", {"instances": [{"user_id": 17.0}]})
        await world.ask("/outcomes", report(data={"unit": 17}), content_type=STRUCTURED)
        exposure, outcome = world.memory.events
        assert exposure.unit == outcome.unit

    play(tmp_path, scene)


def test_an_event_sent_again_has_the_same_id_and_another_source_another(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        for event in (report(), report(), report(source="urn:other"), report(id="8")):
            await world.ask("/outcomes", event, content_type=STRUCTURED)
        ids = [event.id for event in world.memory.events]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 3

    play(tmp_path, scene)


def test_a_batch_is_taken_event_by_event(tmp_path: Path) -> None:
    batch = [report(), report(id="8", data={"value": "12"}), {"x": 1}, report(id="9", data={"unit": None})]

    async def scene(world: World) -> None:
        heard = await world.ask("/outcomes", batch, content_type=f"{BATCH}; charset=utf-8")
        assert heard.status == 202
        assert heard.json["accepted"] == 1
        assert [row["index"] for row in heard.json["rejected"]] == [1, 2, 3]
        assert "not a finite number" in heard.json["rejected"][0]["reason"]
        assert len(world.memory.events) == 1

    play(tmp_path, scene)


def test_binary_mode_reads_the_headers(tmp_path: Path) -> None:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "7",
        "ce_source": "urn:shop",
        "ce_type": "outcome",
        "ce_time": "2026-03-01T12:00:00Z",
        "content_type": "application/json",
    }

    async def scene(world: World) -> None:
        heard = await world.ask("/outcomes", report()["data"], **headers)
        await world.ask("/outcomes", report(), content_type=STRUCTURED)
        assert heard.status == 202
        assert world.memory.events[0] == world.memory.events[1]

    play(tmp_path, scene)


def test_counts_for_the_experiment_it_names_or_for_all_that_run(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        second = world.route(model="other", experiment="f")
        world.routes.publish(second)
        world.table.refresh()
        await world.ask("/outcomes", report(), content_type=STRUCTURED)
        assert sorted(event.experiment for event in world.memory.events) == ["e", "f"]
        await world.ask("/outcomes", report(data={"experiment": "ended"}), content_type=STRUCTURED)
        assert world.memory.events[-1].experiment == "ended"

    play(tmp_path, scene)


def test_states_no_value_happened_once_and_no_time_now(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        event = report()
        del event["time"], event["data"]["value"]
        await world.ask("/outcomes", event, content_type=STRUCTURED)
        assert world.memory.events[0].value == 1.0
        assert abs((world.memory.events[0].time - datetime.now(UTC)).total_seconds()) < 5

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("body", "kind", "status", "reason"),
    [
        (orjson.dumps(report(specversion="0.3")), STRUCTURED, 400, "specversion"),
        (orjson.dumps(report(id="")), STRUCTURED, 400, "'id'"),
        (orjson.dumps(report(time="2026-03-01T12:00:00")), STRUCTURED, 400, "zone"),
        (orjson.dumps(report(time="0001-01-01T00:00:00Z")), STRUCTURED, 400, "recent"),
        (orjson.dumps(report(time=5)), STRUCTURED, 400, "time"),
        (orjson.dumps(report(data={"value": True})), STRUCTURED, 400, "finite"),
        (orjson.dumps(report(data={"experiment": "é" * 100})), STRUCTURED, 400, "too long"),
        (orjson.dumps(report(data={"metric": ""})), STRUCTURED, 400, "metric"),
        (orjson.dumps(report(data={"unit": {"a": 1}})), STRUCTURED, 400, "unit"),
        (b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"unit":1,"metric":"m","value":1e999}}',
         STRUCTURED, 400, "not JSON|finite"),
        (b"[", BATCH, 400, "not JSON"),
        (b"{}", BATCH, 400, "not a list"),
        (orjson.dumps([0] * 10_001), BATCH, 413, "10000"),
        (orjson.dumps(report()), "application/json", 415, "content type"),
        (b" " * 2_000_000, STRUCTURED, 413, "larger"),
    ],
)  # fmt: skip
def test_a_wrong_report_is_refused_with_a_reason(
    tmp_path: Path, body: bytes, kind: str, status: int, reason: str
) -> None:
    async def scene(world: World) -> None:
        heard = await world.ask("/outcomes", body, content_type=kind)
        assert heard.status == status
        assert any(word in heard.json["error"] for word in reason.split("|")), heard.json
        assert world.memory.events == []

    play(tmp_path, scene)


def test_what_the_log_has_no_room_for_is_told(tmp_path: Path) -> None:
    batch = [report(), {"x": 1}, report(id="8"), report(id="9")]

    async def scene(world: World) -> None:
        world.memory.room = 1
        heard = await world.ask("/outcomes", batch, content_type=BATCH)
        assert (heard.status, heard.json["accepted"]) == (202, 1)
        assert [(row["index"], row["status"]) for row in heard.json["rejected"]] == [(1, 400), (2, 503), (3, 503)]
        assert "no room" in heard.json["rejected"][1]["reason"]
        heard = await world.ask("/outcomes", batch, content_type=BATCH)
        assert (heard.status, heard.json["accepted"], heard.headers["retry-after"]) == (503, 0, "1")
        assert "no room" in heard.json["error"]

    play(tmp_path, scene)


def test_an_outcome_is_not_taken_where_one_of_its_experiments_lacks_it(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.routes.publish(world.route(model="other", experiment="f"))
        world.table.refresh()
        world.memory.room = 1
        assert (await world.ask("/outcomes", report(), content_type=STRUCTURED)).status == 503
        world.memory.room = 3
        assert (await world.ask("/outcomes", report(), content_type=STRUCTURED)).status == 202
        assert len({(event.experiment, event.id) for event in world.memory.events}) == 2

    play(tmp_path, scene)


def test_an_outcome_of_no_experiment_is_not_taken(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        world.publish(experiment="", phases=(), revision=2)
        heard = await world.ask("/outcomes", [report(), report(id="8")], content_type=BATCH)
        assert (heard.status, heard.json["accepted"]) == (409, 0)
        assert "no experiment runs" in heard.json["error"]
        heard = await world.ask("/outcomes", [report(), report(id="")], content_type=BATCH)
        assert (heard.status, [row["status"] for row in heard.json["rejected"]]) == (400, [409, 400])
        assert "'id'" in heard.json["error"]
        named = report(id="8", data={"experiment": "ended"})
        heard = await world.ask("/outcomes", [report(), named], content_type=BATCH)
        assert (heard.status, heard.json["accepted"]) == (202, 1)
        assert [row["index"] for row in heard.json["rejected"]] == [0]
        assert [event.experiment for event in world.memory.events] == ["ended"]

    play(tmp_path, scene)


def test_an_empty_batch_is_no_error(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        assert (await world.ask("/outcomes", [], content_type=BATCH)).status == 202

    play(tmp_path, scene)
