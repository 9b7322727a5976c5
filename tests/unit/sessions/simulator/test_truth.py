import numpy as np
import orjson
import pytest
from pydantic import TypeAdapter
from scipy.stats import mannwhitneyu

from trimtab.sessions.simulator import KpiEffect, Simulation, Truth
from trimtab.sessions.simulator.catalogue import late_kpis, spec
from trimtab.sessions.simulator.simulation import Block
from trimtab.sessions.simulator.truth import conversion_probability, weighted_auc


@pytest.fixture(scope="module")
def effects(simulation: Simulation) -> dict[str, KpiEffect]:
    return {effect.kpi: effect for effect in simulation.truth.effects}


def test_auc_with_labels_is_the_mann_whitney_statistic(rng: np.random.Generator) -> None:
    labels = (rng.random(400) < 0.3).astype(float)
    scores = np.round(labels + rng.normal(size=400), 1)  # with ties
    statistic = mannwhitneyu(scores[labels == 1], scores[labels == 0]).statistic
    expected = statistic / (labels.sum() * (1 - labels).sum())
    assert weighted_auc(scores, positive=labels) == pytest.approx(expected)


def test_auc_with_probabilities_is_the_mean_over_drawn_labels(rng: np.random.Generator) -> None:
    p = rng.beta(1, 4, 3_000)
    drawn = [weighted_auc(p, positive=(rng.random(len(p)) < p).astype(float)) for _ in range(60)]
    assert weighted_auc(p, positive=p) == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(60))


def test_auc_of_one_class_is_undefined() -> None:
    assert np.isnan(weighted_auc(np.array([0.1, 0.2]), positive=np.zeros(2)))


def test_truth_survives_json(simulation: Simulation) -> None:
    assert TypeAdapter(Truth).validate_json(orjson.dumps(simulation.truth)) == simulation.truth


def test_undone_intervention_is_the_world_as_it_was(simulation: Simulation, block: Block) -> None:
    p = conversion_probability(simulation.world.config, block, block.kpis)
    np.testing.assert_allclose(p, block.sessions.p_actual, rtol=1e-6)


def test_a_direct_effect_holds_what_follows_and_a_total_effect_does_not(effects: dict[str, KpiEffect]) -> None:
    for cause in ("ttfb_ms", "cache_hit_ratio", "js_kb", "image_kb", "fcp_ms"):
        assert effects[cause].direct["5%"] == 0, cause
        assert effects[cause].total["5%"] > 1e-5, cause
    assert 0 < effects["tbt_ms"].direct["5%"] < effects["tbt_ms"].total["5%"]


def test_what_is_known_only_at_the_end_has_no_effect(effects: dict[str, KpiEffect]) -> None:
    for name in late_kpis():
        assert not any(effects[name].direct.values())
        assert not any(effects[name].total.values())


def test_no_improvement_harms_and_a_larger_one_does_more(effects: dict[str, KpiEffect]) -> None:
    assert set(effects) == set(spec().kpis)
    for effect in effects.values():
        direct = list(effect.direct.values())
        assert direct == sorted(direct), effect.kpi
        assert direct[0] >= 0, effect.kpi
    assert sum(effect.direct["5%"] > 0 for effect in effects.values() if effect.controllable) >= 8


def test_policies_and_segments_add_up(simulation: Simulation) -> None:
    truth = simulation.truth
    assert truth.policy.all - truth.policy.none == pytest.approx(truth.treatment.effect)
    assert truth.policy.oracle > max(truth.policy.all, truth.policy.none)
    assert set(truth.treatment.by_segment) == set(spec().segments)
    devices = truth.treatment.by_segment["device"]
    assert devices["desktop"] < 0 < devices["mobile"]
