"""Which arm a unit belongs to: one pure function for the router, the replay and the analysis.

Nothing is stored. A salted hash puts a unit into one of 10,000 buckets, and the experiment says which arm owns the
bucket. Each question has a salt of its own (is the unit held out, is it in the layer's range, is it enrolled, which
arm), so that the answers are independent and thousands of experiments run at once without touching each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from math import floor, isfinite
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from trimtab.errors import BadInput
from trimtab.experiments.hashing import UInts, Units, hash_chunks, salted_hash, salted_hash_table

BUCKETS = 10_000
NOT_ENROLLED = -1
Codes: TypeAlias = npt.NDArray[np.int16]
Buckets: TypeAlias = npt.NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of an experiment.

    Attributes:
        name: Unique within the experiment.
        weight: Share of the enrolled units, relative to the other arms' weights; zero for an arm not yet started.
    """

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class Layer:
    """A range of a layer's buckets; experiments with disjoint ranges of one layer never share a unit.

    Attributes:
        name: The layer, e.g. `checkout`.
        start: First bucket, 0 to 9,999.
        stop: Bucket after the last one, 1 to 10,000.
    """

    name: str
    start: int = 0
    stop: int = BUCKETS

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop <= BUCKETS:
            raise BadInput(f"layer '{self.name}' has range [{self.start}, {self.stop}); it must lie in [0, {BUCKETS}).")


@dataclass(frozen=True, slots=True)
class Holdout:
    """Units that no experiment of the programme touches, to measure what all launches add up to.

    Attributes:
        name: Experiments that name the same holdout leave out the same units.
        share: Share of all units, 0 to 1.
    """

    name: str
    share: float

    def __post_init__(self) -> None:
        _check_share(self.share, f"share of holdout '{self.name}'")


@dataclass(frozen=True, slots=True)
class Experiment:
    """Who takes part in an experiment and how units are divided.

    A change of weights is a new phase. `ramped` makes it from the last one: a growing arm takes buckets from control
    only, so no unit ever moves from one treatment to another.

    Attributes:
        name: Unique name.
        arms: At least two, control among them.
        control: Name of the arm that the others are compared with.
        salt: Names the randomisation; the experiment's name where empty.
        share: Share of the eligible units that are enrolled, 0 to 1; raising it keeps those already enrolled.
        layer: Range of a layer, where experiments must exclude each other.
        holdout: Units left out of everything.
        segments: Attribute to the values that are eligible; empty for everyone.
        earlier: Weights of the phases before, oldest first, in the order of `arms`.
    """

    name: str
    arms: tuple[Arm, ...]
    control: str
    salt: str = ""
    share: float = 1.0
    layer: Layer | None = None
    holdout: Holdout | None = None
    segments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    earlier: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(names) < 2 or len(set(names)) < len(names) or not all(names):
            raise BadInput(f"experiment '{self.name}' has arms {names}; it needs two or more with different names.")
        if self.control not in names:
            raise BadInput(f"experiment '{self.name}' has no arm '{self.control}' to be its control; arms: {names}.")
        _check_share(self.share, f"share of experiment '{self.name}'")
        for weights in (*self.earlier, self.weights):
            if len(weights) != len(names):
                raise BadInput(f"experiment '{self.name}' has a phase of {len(weights)} weights for {len(names)} arms.")
            if not all(isfinite(weight) and weight >= 0 for weight in weights) or sum(weights) <= 0:
                raise BadInput(
                    f"experiment '{self.name}' has weights {weights}; they must be finite, at least zero, not all zero."
                )

    @property
    def weights(self) -> tuple[float, ...]:
        """Weights of the current phase, in the order of the arms."""
        return tuple(arm.weight for arm in self.arms)

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Names of the arms; an arm's code is its place here."""
        return tuple(arm.name for arm in self.arms)

    def ramped(self, weights: Mapping[str, float]) -> "Experiment":
        """The next phase, with other weights.

        Raises:
            BadInput: An arm is unknown or missing, or a weight is not valid.

        >>> start = Experiment("e", (Arm("a", 0.9), Arm("b", 0.1)), control="a")
        >>> start.ramped({"a": 0.5, "b": 0.5}).earlier
        ((0.9, 0.1),)
        """
        if set(weights) != set(self.arm_names):
            raise BadInput(
                f"weights name {sorted(weights)}, but experiment '{self.name}' has {sorted(self.arm_names)}."
            )
        arms = tuple(replace(arm, weight=weights[arm.name]) for arm in self.arms)
        return replace(self, arms=arms, earlier=(*self.earlier, self.weights))


def assign(
    units: Units, experiment: Experiment, *, attributes: Mapping[str, Sequence[str]] | None = None
) -> npt.NDArray[np.object_]:
    """Arm of every unit.

    Args:
        units: Text or integers, shape [rows].
        experiment: The experiment.
        attributes: Column of each attribute that the experiment's segments name, shape [rows] each.

    Returns:
        Names of arms, shape [rows]; empty text for a unit that is not in the experiment.

    Raises:
        BadInput: A unit is missing, or an attribute that decides eligibility is.

    >>> pair = Experiment("e", (Arm("a", 0.5), Arm("b", 0.5)), control="a")
    >>> list(assign(["u1", "u2", "u3", "u4"], pair)) == [assign_one(f"u{i}", pair) for i in (1, 2, 3, 4)]
    True
    """
    names = np.array([*experiment.arm_names, ""], dtype=object)
    return names[assign_codes(units, experiment, attributes=attributes)]


def assign_codes(
    units: Units, experiment: Experiment, *, attributes: Mapping[str, Sequence[str]] | None = None
) -> Codes:
    """`assign` as places in `experiment.arm_names`, -1 for a unit that is not in the experiment."""
    salts = _salts(experiment)
    table = _bucket_table((*experiment.earlier, experiment.weights), experiment.arm_names.index(experiment.control))
    codes = np.empty(len(units), dtype=np.int16)
    for rows, hashes in hash_chunks(units, list(salts.values())):
        buckets = dict(zip(salts, _buckets(hashes), strict=True))
        codes[rows] = np.where(_enrolled(buckets, experiment), table[buckets["arm"]], NOT_ENROLLED)
    codes[~_eligible(len(units), experiment, attributes or {})] = NOT_ENROLLED
    return codes


def assign_one(unit: str, experiment: Experiment, *, attributes: Mapping[str, str] | None = None) -> str:
    """Arm of one unit, for serving; empty text where the unit is not in the experiment.

    Raises:
        BadInput: An attribute that decides eligibility is missing.
    """
    known = attributes or {}
    for name, allowed in experiment.segments.items():
        if _attribute(known, name, experiment) not in allowed:
            return ""
    buckets = {question: _bucket(unit, salt) for question, salt in _salts(experiment).items()}
    if not all(_rules(buckets, experiment)):
        return ""
    table = _bucket_table((*experiment.earlier, experiment.weights), experiment.arm_names.index(experiment.control))
    return experiment.arm_names[table[buckets["arm"]]]


def assign_stratified(
    units: Units,
    strata: Sequence[str],
    experiment: Experiment,
    *,
    attributes: Mapping[str, Sequence[str]] | None = None,
) -> npt.NDArray[np.object_]:
    """Arm of every unit of a list that is known in advance, with each stratum divided as exactly as whole units allow.

    Within a stratum, units are ordered by their hash and spread evenly over the buckets, so the result depends on the
    list as a whole but not on its order, and ramping moves control to treatment only. A stateless router cannot do
    this: it must be handed the resulting list.

    Args:
        units: Text or integers without repeats, shape [rows].
        strata: Stratum of each unit, shape [rows].
        experiment: The experiment.
        attributes: As in `assign`.

    Raises:
        BadInput: Units repeat, or the lengths differ.
    """
    labels = np.asarray(strata, dtype=object).astype(str)
    if len(labels) != len(units):
        raise BadInput(f"there are {len(units)} units but {len(labels)} strata.")
    salts = _salts(experiment)
    table = dict(zip(salts, salted_hash_table(units, list(salts.values())), strict=True))
    hashes = table["arm"]
    if len(np.unique(hashes)) < len(hashes):
        raise BadInput("units repeat.", remedy="Give each unit once.")
    owners = _bucket_table((*experiment.earlier, experiment.weights), experiment.arm_names.index(experiment.control))
    buckets = {question: _buckets(row) for question, row in table.items()}
    enrolled = _eligible(len(units), experiment, attributes or {}) & _enrolled(buckets, experiment)
    codes = np.full(len(units), NOT_ENROLLED, dtype=np.int16)
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & enrolled)
        places = (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
        codes[rows[np.argsort(hashes[rows])]] = owners[(places * BUCKETS).astype(np.int64)]
    return np.array([*experiment.arm_names, ""], dtype=object)[codes]


def bucket_shares(experiment: Experiment) -> dict[str, float]:
    """Share of the enrolled units that each arm owns, in whole buckets; the weights of a sample-ratio test."""
    table = _bucket_table((*experiment.earlier, experiment.weights), experiment.arm_names.index(experiment.control))
    counts = np.bincount(table, minlength=len(experiment.arms))
    return {name: float(count) / BUCKETS for name, count in zip(experiment.arm_names, counts, strict=True)}


def check_layers(experiments: Sequence[Experiment]) -> None:
    """Make sure that experiments of one layer own disjoint ranges.

    Raises:
        BadInput: Two experiments of a layer overlap.
    """
    taken = sorted((e.layer.name, e.layer.start, e.layer.stop, e.name) for e in experiments if e.layer)
    for (layer, _, stop, first), (other, start, _, second) in pairwise(taken):
        if layer == other and start < stop:
            raise BadInput(f"experiments '{first}' and '{second}' overlap in layer '{layer}' from bucket {start}.")


@lru_cache(maxsize=4096)
def _bucket_table(phases: tuple[tuple[float, ...], ...], control: int) -> Codes:
    """Owner of each bucket after all phases.

    Growing arms take control's lowest buckets, shrinking ones give back their highest.
    """
    table = np.full(BUCKETS, control, dtype=np.int16)
    for weights in phases:
        counts = _bucket_counts(weights)
        treatments = [code for code in range(len(weights)) if code != control]
        for code in treatments:
            table[np.flatnonzero(table == code)[counts[code] :]] = control
        for code in treatments:
            table[np.flatnonzero(table == control)[: counts[code] - np.count_nonzero(table == code)]] = code
    table.flags.writeable = False
    return table


def _bucket_counts(weights: tuple[float, ...]) -> list[int]:
    """Whole buckets per arm by largest remainder, so that they add up to all of them."""
    exact = [weight / sum(weights) * BUCKETS for weight in weights]
    counts = [floor(value + 1e-9) for value in exact]
    order = sorted(range(len(weights)), key=lambda code: (counts[code] - exact[code], code))
    for code in order[: BUCKETS - sum(counts)]:
        counts[code] += 1
    return counts


def _salts(experiment: Experiment) -> dict[str, str]:
    """Salt of each question that the experiment asks about a unit."""
    name = experiment.salt or experiment.name
    salts = {"arm": f"arm:{name}"}
    if experiment.share < 1:
        salts["enrol"] = f"enrol:{name}"
    if experiment.holdout:
        salts["holdout"] = f"holdout:{experiment.holdout.name}"
    if experiment.layer:
        salts["layer"] = f"layer:{experiment.layer.name}"
    return salts


def _enrolled(buckets: Mapping[str, Buckets], experiment: Experiment) -> npt.NDArray[np.bool_]:
    """Whether units are outside the holdout, within the layer's range and within the enrolled share."""
    inside = np.ones_like(buckets["arm"], dtype=bool)
    for rule in _rules(buckets, experiment):
        inside &= rule
    return inside


def _rules(buckets: Mapping[str, Any], experiment: Experiment) -> Iterator[Any]:
    """What a unit must satisfy to be enrolled, for buckets of one unit or of a column of them alike."""
    if experiment.holdout:
        yield buckets["holdout"] >= round(experiment.holdout.share * BUCKETS)
    if experiment.layer:
        yield buckets["layer"] >= experiment.layer.start
        yield buckets["layer"] < experiment.layer.stop
    if experiment.share < 1:
        yield buckets["enrol"] < round(experiment.share * BUCKETS)


def _eligible(rows: int, experiment: Experiment, attributes: Mapping[str, Sequence[str]]) -> npt.NDArray[np.bool_]:
    inside = np.ones(rows, dtype=bool)
    for name, allowed in experiment.segments.items():
        values = np.asarray(_attribute(attributes, name, experiment), dtype=object)
        if len(values) != rows:
            raise BadInput(f"attribute '{name}' has {len(values)} values for {rows} units.")
        inside &= np.isin(values.astype(str), allowed)
    return inside


def _attribute(attributes: Mapping[str, T], name: str, experiment: Experiment) -> T:
    if name not in attributes:
        raise BadInput(
            f"experiment '{experiment.name}' is limited to segments of '{name}', which was not given.",
            remedy="Pass the unit's attributes.",
        )
    return attributes[name]


def _buckets(hashes: UInts) -> Buckets:
    # The high half times 10,000, divided by 2**32: even to one part in 400,000, and without a slow modulo.
    return ((hashes >> np.uint64(32)) * np.uint64(BUCKETS) >> np.uint64(32)).astype(np.int64)


def _bucket(unit: str, salt: str) -> int:
    return (salted_hash(unit, salt) >> 32) * BUCKETS >> 32


def _check_share(share: float, what: str) -> None:
    if not 0 <= share <= 1:
        raise BadInput(f"the {what} is {share}; it must lie in [0, 1].")
