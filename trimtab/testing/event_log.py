"""What every `EventLog` must do: subclass the suite and give it a `log` fixture.

class TestMyLog(EventLogContract):
    @pytest.fixture
    def log(self, tmp_path: Path) -> EventLog: ...
"""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.ports import EventLog
from trimtab.types import Event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def exposure(unit: str, *, experiment: str = "e", minutes: int = 0, visit: int = 1, **segments: str) -> Event:
    """An exposure of a unit to arm `control`."""
    return Event(
        id=f"{experiment}:{unit}:{visit}",
        kind="exposure",
        experiment=experiment,
        unit=unit,
        time=NOW + timedelta(minutes=minutes),
        arm="control",
        version="3",
        segments=segments,
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
