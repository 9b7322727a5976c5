"""What every `EventLog` must do: subclass the suite and give it a `log` fixture.

class TestMyLog(EventLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> EventLog: ...
"""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from math import inf, isnan, nan

import duckdb
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.ports import EventLog
from trimtab.types import Event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def exposure(
    unit: str,
    *,
    experiment: str = "e",
    minutes: float = 0,
    visit: int = 1,
    arm: str = "control",
    fallback: str = "",
    latency_ms: float = nan,
    **segments: str,
) -> Event:
    """An exposure of a unit."""
    return Event(
        id=f"{experiment}:{unit}:{visit}",
        kind="exposure",
        experiment=experiment,
        unit=unit,
        time=NOW + timedelta(minutes=minutes),
        arm=arm,
        version="3",
        segments=segments,
        fallback=fallback,
        latency_ms=latency_ms,
    )


class EventLogContract:
    """The suite."""

    def test_gives_back_what_was_appended(self, log: EventLog) -> None:
        """Every field survives, times with their moment."""
        outcome = Event("o", "outcome", "e", "u1", NOW, metric="revenue", value=12.5)
        log.append([exposure("u1", device="mobile"), outcome])
        seen = log.read("e", "exposure").iloc[0]
        assert (seen["id"], seen["unit"], seen["arm"], seen["version"]) == ("e:u1:1", "u1", "control", "3")
        assert seen["time"] == pd.Timestamp(NOW)
        assert seen["device"] == "mobile"
        counted = log.read("e", "outcome").iloc[0]
        assert (counted["metric"], counted["value"]) == ("revenue", 12.5)

    def test_gives_back_who_answered(self, log: EventLog) -> None:
        """An exposure says which arm answered, why, how fast and what; a shadow event is of a kind of its own."""
        answered = Event(
            "s",
            "exposure",
            "e",
            "u1",
            NOW,
            "b",
            "4",
            served_by="a",
            fallback="timeout",
            latency_ms=7.5,
            probability=0.25,
        )
        log.append([answered, Event("x", "shadow", "e", "u1", NOW, "c", "5", latency_ms=9.0)])
        seen = log.read("e", "exposure").iloc[0]
        assert (seen["served_by"], seen["fallback"], seen["latency_ms"], seen["probability"]) == (
            "a",
            "timeout",
            7.5,
            0.25,
        )
        shadow = log.read("e", "shadow").iloc[0]
        assert (shadow["arm"], shadow["fallback"], shadow["latency_ms"]) == ("c", "", 9.0)
        assert isnan(shadow["probability"])

    def test_has_a_column_per_field_even_without_events(self, log: EventLog) -> None:
        """A reader needs no special case for an experiment that has not begun."""
        empty = log.read("nothing", "outcome")
        assert len(empty) == 0
        assert {field.name for field in fields(Event)} - {"segments"} <= set(empty.columns)

    def test_orders_by_time_across_appends(self, log: EventLog) -> None:
        """Late arrivals take their place."""
        log.append([exposure("late", minutes=9), exposure("first", minutes=1)])
        log.append([exposure("middle", minutes=5)])
        assert log.read("e", "exposure")["unit"].tolist() == ["first", "middle", "late"]

    def test_counts_an_event_once(self, log: EventLog) -> None:
        """A client that was not sure repeats itself; the id says so."""
        log.append([exposure("u1"), exposure("u1")])
        log.append([exposure("u1")])
        log.append([exposure("u1", visit=2)])
        assert len(log.read("e", "exposure")) == 2

    def test_keeps_experiments_and_kinds_apart(self, log: EventLog) -> None:
        """Also those whose names look like paths."""
        names = ["e", "e/x", "..", "é %"]
        log.append([exposure("u1", experiment=name) for name in names])
        assert [len(log.read(name, "exposure")) for name in names] == [1, 1, 1, 1]
        assert len(log.read("e", "outcome")) == 0

    def test_gives_a_segment_to_those_who_have_it(self, log: EventLog) -> None:
        """Missing where an event has no such segment."""
        log.append([exposure("u1", device="mobile"), exposure("u2", minutes=1)])
        assert log.read("e", "exposure")["device"].isna().tolist() == [False, True]

    def test_refuses_an_event_that_cannot_be_read_back(self, log: EventLog) -> None:
        """Nothing of the batch is written then."""
        naive = Event("n", "exposure", "e", "u2", NOW.replace(tzinfo=None), arm="control")
        with pytest.raises(BadInput, match="no zone"):
            log.append([exposure("u1"), naive])
        with pytest.raises(BadInput, match="named like a field"):
            log.append([exposure("u1", arm_="x"), exposure("u2", metric="x")])
        assert len(log.read("e", "exposure")) == 0

    def test_takes_no_events_at_all(self, log: EventLog) -> None:
        """An empty flush is no error."""
        log.append([])
        assert len(log.read("e", "exposure")) == 0

    def test_says_where_a_warehouse_reads_it(self, log: EventLog) -> None:
        """Segments of different columns are read by name, and a unit's attributes are columns."""
        log.append([exposure("u1", device="mobile"), exposure("u2", device="desktop")])
        log.append([exposure("u3", minutes=1, country="DE")])
        rows = duckdb.execute(
            "SELECT unit, device, country FROM read_parquet(?, union_by_name = true) ORDER BY unit",
            [log.location("e", "exposure")],
        ).fetchall()
        assert rows == [("u1", "mobile", None), ("u2", "desktop", None), ("u3", None, "DE")]
        assert not log.empty("e", "exposure")

    def test_says_where_a_warehouse_will_read_it(self, log: EventLog) -> None:
        """Also before the first event; there is no file there yet."""
        assert log.empty("e", "outcome")
        place = log.location("e", "outcome")
        assert duckdb.execute("SELECT count(*) FROM glob(?)", [place]).fetchone() == (0,)

    def test_levels_count_every_request_once(self, log: EventLog) -> None:
        """Of all units of an arm, also those that another arm had to answer; repeated events are dropped."""
        log.append([exposure("u1", latency_ms=5.0), exposure("u1", visit=2, latency_ms=7.0)])
        log.append([exposure("u1", latency_ms=5.0), exposure("u2", arm="b", fallback="timeout", latency_ms=90.0)])
        levels = log.service_levels("e", "exposure")
        assert {arm: (level.requests, level.failures) for arm, level in levels.items()} == {
            "control": (2, 0),
            "b": (1, 1),
        }
        assert levels["control"].latency_p50_ms == 5.0
        assert (levels["control"].versions, levels["b"].versions) == (("3",), ())

    def test_levels_bound_the_slowest_percent(self, log: EventLog) -> None:
        """The interval's ends are latencies that occurred; an unknown latency is none."""
        log.append(exposure(f"u{number}", latency_ms=float(number)) for number in range(10_000))
        log.append([exposure("unknown")])
        level = log.service_levels("e", "exposure")["control"]
        assert (level.requests, level.latency_p50_ms, level.latency_p99_ms) == (10_001, 4_999.0, 9_899.0)
        assert (level.latency_p99_low_ms, level.latency_p99_high_ms) == (9_879.0, 9_919.0)

    def test_levels_of_few_requests_are_not_bounded_from_above(self, log: EventLog) -> None:
        """Nobody knows the slowest percent after ten requests, but it is no faster than some of them."""
        log.append(exposure(f"u{number}", latency_ms=float(number)) for number in range(10))
        level = log.service_levels("e", "exposure")["control"]
        assert 0 < level.latency_p99_low_ms <= level.latency_p99_ms < level.latency_p99_high_ms == inf

    def test_levels_begin_where_they_are_asked_to(self, log: EventLog) -> None:
        """A look at the last hour does not see yesterday; an experiment without requests has no levels."""
        log.append([exposure("early"), exposure("late", minutes=9)])
        assert log.service_levels("e", "exposure", since=NOW + timedelta(minutes=9))["control"].requests == 1
        assert log.service_levels("e", "exposure", since=NOW + timedelta(minutes=10)) == {}
        assert log.service_levels("nothing", "shadow") == {}
