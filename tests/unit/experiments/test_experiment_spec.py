from pathlib import Path
from typing import Any

import pytest

from trimtab.errors import BadInput
from trimtab.experiments.assignment import assign_one
from trimtab.experiments.declaration import Flags, declare
from trimtab.experiments.means import Measure
from trimtab.experiments.spec import build_experiment, changes, dump_experiment, load_experiment, spec_hash

SPEC: dict[str, Any] = {
    "name": "checkout",
    "control": "A",
    "arms": {"A": 0.5, "B": 0.5},
    "time": "at",
    "metrics": {
        "latency": {"kind": "mean", "column": "ms", "role": "guardrail", "direction": "lower", "margin": 0.1},
        "conversion": {"kind": "binary", "column": "bought"},
        "revenue": {"kind": "mean", "column": "revenue", "covariate": "before / visits"},
    },
    "phases": [
        {"starts": "2026-11-01T00:00:00Z", "weights": {"A": 0.9, "B": 0.1}},
        {"starts": "2026-11-05T00:00:00Z", "weights": {"A": 0.5, "B": 0.5}},
    ],
}


def test_the_first_metric_that_is_no_guardrail_decides() -> None:
    spec = build_experiment(SPEC, where="spec")
    assert spec.primary == "conversion"
    assert [spec.role(name) for name in spec.metrics] == ["guardrail", "primary", "secondary"]


def test_a_ratio_may_be_a_covariate() -> None:
    metric = build_experiment(SPEC, where="spec").metrics["revenue"]
    assert metric.before == Measure("before", "visits")
    assert metric.covariate_columns == ("before", "visits")


def test_the_hash_depends_on_content_only(tmp_path: Path) -> None:
    spec = build_experiment(SPEC, where="spec")
    path = tmp_path / "spec.yaml"
    path.write_text("# written again\n" + dump_experiment(spec))
    assert spec_hash(load_experiment(str(path))) == spec_hash(spec)
    other = build_experiment({**SPEC, "alpha": 0.1}, where="spec")
    assert spec_hash(other) != spec_hash(spec)
    assert changes(spec, other) == ("alpha: 0.05 became 0.1",)


def test_phases_ramp_the_assignment() -> None:
    """A unit of the treatment in the first phase is in it in the second."""
    spec = build_experiment(SPEC, where="spec")
    first = build_experiment({**SPEC, "phases": SPEC["phases"][:1]}, where="spec")
    treated = [f"u{i}" for i in range(400) if assign_one(f"u{i}", first.experiment) == "B"]
    assert 10 < len(treated) < 90
    assert {assign_one(unit, spec.experiment) for unit in treated} == {"B"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metrics": {"x": {"kind": "ratio", "column": "y"}}}, "'denominator' and 'numerator'"),
        ({"metrics": {"x": {"kind": "quantile", "column": "y"}}}, "'column' and 'quantile'"),
        ({"metrics": {"x": {"kind": "binary", "column": "y", "cap": 0.9}}}, "nothing to cap"),
        ({"metrics": {"x": {"kind": "meen", "column": "y"}}}, "'meen' is not one of"),
        (
            {"metrics": {name: {"kind": "mean", "column": "y", "role": "primary"} for name in "xy"}},
            "one metric decides",
        ),
        ({"control": "C"}, "control 'C' is not among the arms A, B"),
        ({"time": None}, "need 'time'"),
        ({"phases": [{"starts": "2026-11-01T00:00:00Z", "weights": {"A": 1, "C": 1}}]}, "weights of other arms"),
        ({"starts": "2026-11-01"}, "starts"),
        ({"sequential": {"planned_units": 0}}, "planned_units"),
        ({"segments": ["arm"]}, "'arm' cannot be a segment"),
        ({"segments": ["unit"]}, "'unit' cannot be a segment"),
    ],
)
def test_contradictions_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as raised:
        build_experiment({**SPEC, **change}, where="spec 'checkout.yaml'")
    assert words in str(raised.value)
    assert "spec 'checkout.yaml' is not valid" in str(raised.value)


def test_flags_add_to_a_spec_and_override_it() -> None:
    base = build_experiment(SPEC, where="spec")
    flags = Flags(
        unit="user", control="B", metrics=("latency=mean:other", "ctr=ratio:clicks/views"), segments=("device",)
    )
    spec = declare(base, flags, name="unused")
    assert (spec.name, spec.unit, spec.control, spec.segments) == ("checkout", "user", "B", ("device",))
    assert (spec.metrics["latency"].column, spec.metrics["latency"].margin) == ("other", 0.1)
    assert spec.metrics["ctr"].measure == Measure("clicks", "views")
    assert spec.primary == "conversion"


def test_without_a_spec_all_metrics_are_one_family() -> None:
    spec = declare(None, Flags(metrics=("x=mean:x", "y=mean:y")), name="users")
    assert (spec.name, spec.family, spec.primary) == ("users", "all", "x")
