"""The answers: what each KPI is worth, whom the action helps, and how well conversion can be predicted at all.

Effects are changes of the mean true probability to convert, in absolute terms (0.001 is 0.1 percentage points), when
every session's KPI is improved by a share and everything else about the session stays as it was: same visitor,
history and noise (the counterfactual of a structural causal model; Pearl, Causality, 2009, section 7.1). A *direct*
effect holds all other KPIs, as a what-if on a model does; a *total* effect lets the improvement propagate.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trimtab.sessions.simulator.catalogue import Array, categories, clip, improvement, request_kpis, spec
from trimtab.sessions.simulator.drift import named
from trimtab.sessions.simulator.mechanisms import MECHANISMS, propagate
from trimtab.sessions.simulator.outcome import (
    Outcome,
    loyalty_log_odds,
    probability,
    static_log_odds,
    treatment_log_odds,
)
from trimtab.sessions.simulator.simulation import Block, WorldConfig
from trimtab.sessions.simulator.visits import Sessions

LEVELS = (0.05, 0.06, 0.07, 0.08)

SCHEMA = {
    "rows": "Number of sessions.",
    "users": "Number of users.",
    "conversion_rate": "Share of sessions that converted.",
    "bayes_auc": "AUC of the true probability on the drawn labels: no request-time model can do better but by luck.",
    "expected_bayes_auc": "The same, expected over the labels.",
    "bayes_log_loss": "Log loss of the true probability on the drawn labels.",
    "treatment.effect": "Mean of p_treated - p_control over sessions.",
    "treatment.by_segment": "The same per value of each segment attribute.",
    "policy": "Mean true probability to convert if nobody, everybody, or exactly who gains is given the action.",
    "policy.share_treated": "Share of sessions that the oracle policy acts on.",
    "effects": "Per KPI: change of the mean true probability when it is improved by 5 to 8%, the others held (direct) "
    "or following (total). Zero for KPIs known only at session end: they are consequences.",
    "effects_sessions": "Number of sessions that the effects are averaged over.",
}


@dataclass(frozen=True, slots=True)
class KpiEffect:
    """What improving one KPI does, by improvement (`5%` to `8%`), as change of the mean conversion probability."""

    kpi: str
    controllable: bool
    direct: dict[str, float]
    total: dict[str, float]


@dataclass(frozen=True, slots=True)
class TreatmentTruth:
    """Average effect of the action, over all sessions and per segment value."""

    effect: float
    by_segment: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class PolicyTruth:
    """Conversion rate expected under each targeting policy; `share_treated` is the oracle's."""

    none: float
    all: float
    oracle: float
    share_treated: float


@dataclass(frozen=True, slots=True)
class Truth:
    """Everything true about one simulated data set; `schema` explains the fields."""

    rows: int
    users: int
    conversion_rate: float
    bayes_auc: float
    expected_bayes_auc: float
    bayes_log_loss: float
    treatment: TreatmentTruth
    policy: PolicyTruth
    effects: tuple[KpiEffect, ...]
    effects_sessions: int
    schema: dict[str, str]


def tell_truth(config: WorldConfig, sessions: Sessions, block: Block, *, users: int) -> Truth:
    """Derive the truth of a simulated data set.

    Args:
        config: What was simulated.
        sessions: All its sessions.
        block: One block of users, a random sample, on which the interventions are played.
        users: Number of users.
    """
    p, y = sessions.p_actual, sessions.converted.astype(np.float64)
    return Truth(
        rows=len(sessions),
        users=users,
        conversion_rate=float(y.mean()),
        bayes_auc=weighted_auc(p, positive=y),
        expected_bayes_auc=weighted_auc(p, positive=p),
        bayes_log_loss=float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))),
        treatment=_treatment(sessions),
        policy=_policy(sessions),
        effects=kpi_effects(config, block),
        effects_sessions=len(block.context),
        schema=SCHEMA,
    )


def weighted_auc(scores: Array, *, positive: Array) -> float:
    """AUC where each case is positive with a weight and negative with the rest of it.

    With 0/1 weights this is the Mann-Whitney statistic; with the probabilities themselves as weights it is the AUC
    expected over labels drawn from them (ratio of expectations). Ties count half. NaN where a class has no weight.

    Args:
        scores: Scores, shape [cases].
        positive: Weight of each case among the positives, in [0, 1].

    Returns:
        The area under the ROC curve.
    """
    _, rank = np.unique(scores, return_inverse=True)
    above = np.bincount(rank, weights=positive)
    below = np.bincount(rank, weights=1.0 - positive)
    pairs = float(above.sum() * below.sum())
    if pairs == 0:
        return float("nan")
    return float(np.sum(above * (np.cumsum(below) - 0.5 * below)) / pairs)


def kpi_effects(config: WorldConfig, block: Block) -> tuple[KpiEffect, ...]:
    """Direct and total effect of improving each KPI, in the order of the spec."""
    before = float(conversion_probability(config, block, block.kpis).mean())

    def gain(kpis: Mapping[str, Array]) -> float:
        return float(conversion_probability(config, block, kpis).mean()) - before

    effects = []
    for name, kpi in spec().kpis.items():
        direct = {f"{level:.0%}": 0.0 for level in LEVELS}
        total = dict(direct)
        for level in LEVELS if name in request_kpis() else ():
            factor = improvement(kpi, level)
            direct[f"{level:.0%}"] = gain(_alone(block, name, factor))
            total[f"{level:.0%}"] = gain(_propagated(config, block, name, factor))
        effects.append(KpiEffect(name, kpi.controllable, direct, total))
    return tuple(effects)


def _alone(block: Block, name: str, factor: float) -> dict[str, Array]:
    """The block's KPIs with one of them multiplied and all others held."""
    return {**block.kpis, name: clip(name, block.kpis[name] * np.float32(factor))}


def _propagated(config: WorldConfig, block: Block, name: str, factor: float) -> dict[str, Array]:
    """The block's KPIs with one mechanism multiplied; what comes before it in causal order cannot change."""
    scale = dict(named(config.drift).scale)
    scale[name] = scale.get(name, 1.0) * factor
    order = list(MECHANISMS)
    earlier = {cause: block.kpis[cause] for cause in order[: order.index(name)]}
    return propagate(block.context, block.noise, scale=scale, held=earlier)


def conversion_probability(config: WorldConfig, block: Block, kpis: Mapping[str, Array]) -> Array:
    """True probability of each visit of a block if its KPIs were `kpis`; history and action as they were."""
    outcome = Outcome().drifted(named(config.drift).concept)
    action = treatment_log_odds(outcome, block.context, kpis) * block.sessions.treated
    return probability(
        static_log_odds(outcome, block.context, kpis) + loyalty_log_odds(outcome, block.prior_conversions) + action
    )


def _treatment(sessions: Sessions) -> TreatmentTruth:
    effect = sessions.p_treated - sessions.p_control
    by_segment = {}
    for attribute in spec().segments:
        codes = sessions.attributes[attribute]
        names = categories(attribute)
        by_segment[attribute] = {
            name: float(effect[codes == code].mean()) for code, name in enumerate(names) if np.any(codes == code)
        }
    return TreatmentTruth(float(effect.mean()), by_segment)


def _policy(sessions: Sessions) -> PolicyTruth:
    control, treated = sessions.p_control, sessions.p_treated
    return PolicyTruth(
        none=float(control.mean()),
        all=float(treated.mean()),
        oracle=float(np.maximum(control, treated).mean()),
        share_treated=float((treated > control).mean()),
    )
