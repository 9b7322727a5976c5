"""A phased launch plan that follows from a verdict: best evidence first, and nothing where harm is shown."""

from dataclasses import dataclass

from trimtab.experiments.effects import Direction
from trimtab.experiments.segments import SegmentAnalysis, SegmentEffect
from trimtab.types import Decision

RAMP = (0.05, 0.25, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class LaunchPhase:
    """One phase of a launch.

    Attributes:
        name: Short name.
        segments: Segments that the phase covers; empty for all units.
        shares: Shares of those units that get the treatment, one step after the other.
        gate: What must hold before the next phase begins.
        reason: Why these segments come now.
    """

    name: str
    segments: tuple[str, ...]
    shares: tuple[float, ...]
    gate: str
    reason: str


_GATE = "Guardrails stay within their margins for a full week at each share."


def launch_plan(
    decision: Decision, segments: SegmentAnalysis | None = None, *, direction: Direction = "higher"
) -> tuple[LaunchPhase, ...]:
    """Order the launch by evidence.

    Segments with a shown improvement come first; those with nothing shown follow, observed further; those shown to be
    worse are left out. Where segments are not shown to differ there is no reason to treat them apart.

    Args:
        decision: The verdict; only `ship` has phases.
        segments: Effects by segment, where they were analysed.
        direction: Whether higher or lower is better.
    """
    if decision != "ship":
        return ()
    if segments is None or not (segments.differs or any(effect.claim == "worse" for effect in segments.effects)):
        reason = "No segment is shown to differ from the others."
        return (LaunchPhase("everyone", (), RAMP, _GATE, reason),)
    best = sorted(
        (effect for effect in segments.effects if effect.claim == "better"), key=lambda e: _rank(e, direction)
    )
    rest = tuple(effect.segment for effect in segments.effects if effect.claim == "none")
    worse = tuple(effect.segment for effect in segments.effects if effect.claim == "worse")
    phases = []
    if best:
        names = tuple(effect.segment for effect in best)
        phases.append(LaunchPhase("proven", names, RAMP, _GATE, "The improvement is shown in these segments."))
    if rest:
        reason = "No effect of their own is shown here; launch with a holdout and keep measuring."
        phases.append(LaunchPhase("watched", rest, (0.05, 0.5), _GATE, reason))
    if worse:
        reason = "The treatment is shown to be worse here."
        phases.append(LaunchPhase("excluded", worse, (0.0,), "A variant that does no harm here.", reason))
    return tuple(phases)


def _rank(effect: SegmentEffect, direction: Direction) -> float:
    relative = effect.comparison.relative
    size = effect.comparison.absolute.estimate if relative is None else relative.estimate
    return -size if direction == "higher" else size
