"""What routers logged is analysed where it lies: the warehouse and the step over the log count the same."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from trimtab.adapters.event_buffer import BufferedEventLog
from trimtab.adapters.events import FileEventLog, SegmentEventLog
from trimtab.errors import BadInput
from trimtab.experiments.spec import ExperimentSpec, Metric, Outcomes, dump_experiment
from trimtab.steps import analyze, decide
from trimtab.testing.ports import StepPorts
from trimtab.types import Event

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNITS = 2_000
DEVICES = ("mobile", "desktop")


@pytest.fixture
def ports(tmp_path: Path) -> StepPorts:
    return StepPorts(tmp_path / "state")


@pytest.fixture
def log(ports: StepPorts) -> SegmentEventLog:
    """Two arms over four weeks: repeated exposures, outcomes before and after them, and events that came twice."""
    log = FileEventLog(str(ports.home / "events"))
    rng = np.random.default_rng(4)
    with BufferedEventLog(log, spool=ports.home / "spool", flush_seconds=3_600.0) as writer:
        for number in range(UNITS):
            for event in _visit(number, rng):
                writer.put(event)
                if rng.random() < 0.1:
                    writer.put(event)
            if number % 200 == 0:
                writer.flush()
    return log


def _visit(number: int, rng: np.random.Generator) -> list[Event]:
    unit, arm = f"u{number}", ("control", "treatment")[number % 2]
    first = START + timedelta(seconds=float(rng.uniform(0, 28 * 86_400)))
    segments = {"device": DEVICES[number % 3 % 2]} if number >= 200 else {}  # Older segments lack the attribute.
    again = first + timedelta(seconds=float(rng.choice([0.0, 0.2, 90.0])))
    events = [
        Event(f"x{number}:{visit}", "exposure", "shop", unit, time, arm, "1", segments=segments)
        for visit, time in enumerate((first, again))
    ]
    if rng.random() < 0.2 + 0.05 * (arm == "treatment"):
        after = first + timedelta(seconds=float(rng.choice([-0.3, 0.3, 3_000.0])))  # Some are before the exposure.
        events.append(Event(f"c{number}", "outcome", "shop", unit, after, metric="conversion", value=1.0))
        amount = float(rng.gamma(2, 20))
        events.append(Event(f"v{number}", "outcome", "shop", unit, after, metric="value", value=amount))
    return events


def _spec(log: SegmentEventLog, tmp_path: Path, **fields: object) -> str:
    declared: dict[str, object] = {
        "name": "shop",
        "time": "time",
        "control": "control",
        "arms": {"control": 0.5, "treatment": 0.5},
        "metrics": {
            "conversion": Metric(kind="binary", column="conversion"),
            "value": Metric(kind="mean", column="value"),
        },
        "outcomes": Outcomes(
            file=log.location("shop", "outcome"),
            value="value",
            id="id",
            window_hours=24 * 365,
            until=START + timedelta(days=800),
        ),
    }
    path = tmp_path / "spec.yaml"
    path.write_text(dump_experiment(ExperimentSpec.model_validate(declared | fields)), encoding="utf-8")
    return str(path)


def test_the_warehouse_and_the_step_count_the_same(log: SegmentEventLog, ports: StepPorts, tmp_path: Path) -> None:
    config = analyze.Config(log.location("shop", "exposure"), spec=_spec(log, tmp_path))
    found = analyze.run(config, ports.as_ports())
    wanted = decide.run(decide.Config("shop"), ports.as_ports())

    assert wanted.unexposed_outcomes > 0
    conversion, value = found.metrics["conversion"], found.metrics["value"]
    for arm in wanted.arms:
        assert conversion.arms[arm.arm].units == arm.users == UNITS // 2
        assert conversion.arms[arm.arm].value == pytest.approx(arm.conversions / arm.users, rel=1e-12)
        assert value.arms[arm.arm].value == pytest.approx(arm.value / arm.users, rel=1e-9)
    (comparison,) = conversion.comparisons
    assert wanted.absolute is not None
    assert comparison.p_value == pytest.approx(wanted.p_value, rel=1e-9)
    assert comparison.absolute.low == pytest.approx(wanted.absolute.low, rel=1e-9)
    assert comparison.absolute.high == pytest.approx(wanted.absolute.high, rel=1e-9)
    assert found.verdict.decision == wanted.decision


def test_an_attribute_of_the_log_is_a_column(log: SegmentEventLog, ports: StepPorts, tmp_path: Path) -> None:
    exposures = log.location("shop", "exposure")
    units = log.read("shop", "exposure").drop_duplicates("unit")

    by_device = analyze.Config(exposures, spec=_spec(log, tmp_path, segments=["device"]))
    (segmentation,) = analyze.run(by_device, ports.as_ports()).segments
    counted = {segment.segment: segment.units for segment in segmentation.segments}
    assert {device: counted[device] for device in DEVICES} == units["device"].value_counts().to_dict()

    on_mobile = analyze.Config(exposures, spec=_spec(log, tmp_path, eligible={"device": ["mobile"]}))
    mobile = analyze.run(on_mobile, ports.as_ports()).metrics["conversion"].arms
    assert sum(arm.units for arm in mobile.values()) == (units["device"] == "mobile").sum()


def test_without_the_id_repeats_add_up(log: SegmentEventLog, ports: StepPorts, tmp_path: Path) -> None:
    outcomes = Outcomes(file=log.location("shop", "outcome"), value="value", window_hours=24 * 365)
    until = START + timedelta(days=800)
    config = analyze.Config(
        log.location("shop", "exposure"),
        spec=_spec(log, tmp_path, outcomes=outcomes.model_copy(update={"until": until})),
    )
    repeated = analyze.run(config, ports.as_ports()).metrics["value"].arms["control"].value
    config = analyze.Config(log.location("shop", "exposure"), spec=_spec(log, tmp_path))
    assert repeated > analyze.run(config, ports.as_ports()).metrics["value"].arms["control"].value


def test_a_pattern_that_matches_nothing(log: SegmentEventLog, ports: StepPorts, tmp_path: Path) -> None:
    config = analyze.Config(log.location("nothing", "exposure"), spec=_spec(log, tmp_path))
    with pytest.raises(BadInput, match="no file matches"):
        analyze.run(config, ports.as_ports())
    none_yet = Outcomes(file=log.location("nothing", "outcome"), window_hours=24)
    config = analyze.Config(log.location("shop", "exposure"), spec=_spec(log, tmp_path, outcomes=none_yet))
    with pytest.raises(BadInput, match="no file matches"):
        analyze.run(config, ports.as_ports())
