import os
import subprocess
import sys

import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.assignment import (
    Arm,
    Experiment,
    Holdout,
    Layer,
    assign,
    assign_codes,
    assign_one,
    assign_stratified,
    bucket_shares,
    check_layers,
)

UNITS = [f"user-{number}" for number in range(20_000)]


def pair(treatment: float = 0.5, **options: object) -> Experiment:
    arms = (Arm("control", 1 - treatment), Arm("treatment", treatment))
    return Experiment("checkout", arms, control="control", **options)  # type: ignore[arg-type]


def test_known_units_keep_their_arm_for_ever() -> None:
    """Changing any of these moves users of running experiments."""
    assert [assign_one(f"u{number}", pair())[0] for number in range(8)] == list("ctctcccc")


def test_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "from trimtab.experiments.assignment import *\n"
        "e = Experiment('checkout', (Arm('control', .5), Arm('treatment', .5)), control='control')\n"
        "print(','.join(assign([f'user-{i}' for i in range(50)], e)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().split(",") == list(assign(UNITS[:50], pair()))


def test_ramping_moves_units_from_control_to_treatments_only() -> None:
    arms = (Arm("control", 0.9), Arm("a", 0.06), Arm("b", 0.04))
    first = Experiment("ramp", arms, control="control")
    second = first.ramped({"control": 0.6, "a": 0.3, "b": 0.1})
    third = second.ramped({"control": 0.2, "a": 0.4, "b": 0.4})
    before = assign(UNITS, first)
    for phase in (second, third):
        after = assign(UNITS, phase)
        moved = before != after
        assert moved.any()
        assert set(before[moved]) == {"control"}
        before = after
    assert bucket_shares(third) == {"control": 0.2, "a": 0.4, "b": 0.4}


def test_rolling_back_returns_everyone_to_control() -> None:
    back = pair(0.3).ramped({"control": 1.0, "treatment": 0.0})
    assert set(assign(UNITS, back)) == {"control"}


def test_layers_exclude_each_other() -> None:
    left = Experiment("left", pair().arms, control="control", layer=Layer("shop", 0, 4_000))
    right = Experiment("right", pair().arms, control="control", layer=Layer("shop", 4_000, 10_000))
    inside_left, inside_right = assign_codes(UNITS, left) >= 0, assign_codes(UNITS, right) >= 0
    assert not (inside_left & inside_right).any()
    assert (inside_left | inside_right).all()
    check_layers([left, right])
    with pytest.raises(BadInput, match="overlap in layer 'shop' from bucket 0"):
        check_layers([left, Experiment("third", pair().arms, control="control", layer=Layer("shop"))])


def test_one_holdout_is_the_same_for_all_experiments() -> None:
    one = assign_codes(UNITS, pair(holdout=Holdout("2026", 0.1))) < 0
    other = Experiment("other", pair().arms, control="control", holdout=Holdout("2026", 0.1))
    assert (one == (assign_codes(UNITS, other) < 0)).all()
    assert 0.09 < one.mean() < 0.11


def test_raising_the_share_keeps_those_enrolled() -> None:
    some, more = assign(UNITS, pair(share=0.2)), assign(UNITS, pair(share=0.6))
    assert (some[some != ""] == more[some != ""]).all()
    assert (more != "").mean() > 0.55


def test_segments_limit_who_takes_part() -> None:
    experiment = pair(segments={"device": ("mobile", "tablet")})
    devices = ["mobile", "desktop"] * 50
    arms = assign(UNITS[:100], experiment, attributes={"device": devices})
    assert all((arm == "") == (device == "desktop") for arm, device in zip(arms, devices, strict=True))
    assert assign_one("user-1", experiment, attributes={"device": "desktop"}) == ""
    with pytest.raises(BadInput, match="'device', which was not given"):
        assign(UNITS[:2], experiment)
    with pytest.raises(BadInput, match="1 values for 2 units"):
        assign(UNITS[:2], experiment, attributes={"device": ["mobile"]})


def test_one_and_many_agree_on_every_question() -> None:
    experiment = pair(
        0.3, share=0.7, layer=Layer("shop", 1_000, 9_000), holdout=Holdout("2026", 0.1), segments={"device": ("m",)}
    )
    devices = ["m", "m", "d"] * 200
    many = assign(UNITS[:600], experiment, attributes={"device": devices})
    one = [
        assign_one(unit, experiment, attributes={"device": device})
        for unit, device in zip(UNITS[:600], devices, strict=True)
    ]
    assert list(many) == one
    assert set(one) == {"", "control", "treatment"}


def test_strata_are_divided_exactly_and_whatever_the_order() -> None:
    strata = np.array(["new", "casual", "power"])[np.arange(9_000) % 3]
    arms = assign_stratified(UNITS[:9_000], list(strata), pair(0.4))
    for stratum in ("new", "casual", "power"):
        assert (arms[strata == stratum] == "treatment").sum() == 1_200
    order = np.random.default_rng(1).permutation(9_000)
    shuffled = assign_stratified([UNITS[row] for row in order], list(strata[order]), pair(0.4))
    assert (shuffled == arms[order]).all()
    with pytest.raises(BadInput, match="units repeat"):
        assign_stratified(["a", "a"], ["x", "x"], pair())
    with pytest.raises(BadInput, match="2 units but 1 strata"):
        assign_stratified(["a", "b"], ["x"], pair())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Experiment("e", (Arm("a", 1),), control="a"), "two or more"),
        (lambda: Experiment("e", (Arm("a", 1), Arm("a", 1)), control="a"), "different names"),
        (lambda: Experiment("e", (Arm("a", 1), Arm("b", 1)), control="c"), "no arm 'c'"),
        (lambda: Experiment("e", (Arm("a", -1), Arm("b", 1)), control="a"), "at least zero"),
        (lambda: Experiment("e", (Arm("a", float("nan")), Arm("b", 1)), control="a"), "finite"),
        (lambda: Experiment("e", (Arm("a", 0), Arm("b", 0)), control="a"), "not all zero"),
        (lambda: pair(share=1.2), r"must lie in \[0, 1\]"),
        (lambda: Layer("l", 5, 5), r"must lie in \[0, 10000\)"),
        (lambda: Holdout("h", -0.1), r"must lie in \[0, 1\]"),
        (lambda: pair().ramped({"control": 1.0}), "weights name"),
        (lambda: assign(np.array(["a", None], dtype=object), pair()), "row 1 is missing"),
        (lambda: assign(np.array([1.5, 2.0]), pair()), "type double"),
        (lambda: assign(np.array([b"a"], dtype=object), pair()), "type binary"),
    ],
)
def test_wrong_input_is_named(make: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()  # type: ignore[operator]


def test_no_units_give_no_arms() -> None:
    assert list(assign([], pair())) == []


def test_ramping_strata_moves_control_to_treatments_only() -> None:
    arms = (Arm("control", 0.8), Arm("a", 0.1), Arm("b", 0.1))
    first = Experiment("strata", arms, control="control")
    second = first.ramped({"control": 0.4, "a": 0.3, "b": 0.3})
    strata = ["x", "y"] * 1_000
    before, after = (assign_stratified(UNITS[:2_000], strata, phase) for phase in (first, second))
    assert set(before[before != after]) == {"control"}
    assert {arm: int((after[::2] == arm).sum()) for arm in ("control", "a", "b")} == {
        "control": 400,
        "a": 300,
        "b": 300,
    }
