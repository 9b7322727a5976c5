"""The drawn labels, against the probabilities that they were drawn from, within binomial tolerance."""

import numpy as np
import pytest

from trimtab.sessions.simulator import Simulation, WorldConfig, simulate
from trimtab.sessions.simulator.catalogue import request_kpis
from trimtab.sessions.simulator.truth import weighted_auc

SIGMAS = 4.0  # of ten deciles the worst exceeds this once in a thousand runs


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return simulate(WorldConfig(sessions=80_000))


def test_labels_are_calibrated_in_every_decile(simulation: Simulation) -> None:
    p, labels = simulation.sessions.p_actual, simulation.sessions.converted
    for rows in np.array_split(np.argsort(p), 10):
        tolerance = SIGMAS * np.sqrt(np.sum(p[rows] * (1 - p[rows])))
        assert abs(labels[rows].sum() - p[rows].sum()) < tolerance


def test_the_world_is_as_predictable_as_intended(simulation: Simulation) -> None:
    truth = simulation.truth
    assert 0.08 <= truth.conversion_rate <= 0.12
    assert 0.86 <= truth.expected_bayes_auc <= 0.89
    assert truth.bayes_auc == pytest.approx(truth.expected_bayes_auc, abs=0.008)


def test_no_single_number_known_in_time_gives_the_label_away(simulation: Simulation) -> None:
    labels = simulation.sessions.converted.astype(float)

    def auc(kpi: str) -> float:
        return weighted_auc(np.nan_to_num(simulation.sessions.kpis[kpi]), positive=labels)

    assert max(abs(auc(kpi) - 0.5) for kpi in request_kpis()) < 0.3
    assert auc("checkout_steps") > 0.95


def test_targeting_beats_treating_all_or_none(simulation: Simulation) -> None:
    policy = simulation.truth.policy
    assert policy.oracle - max(policy.all, policy.none) >= 0.015
    assert abs(simulation.truth.treatment.effect) < 0.005


def test_the_treatment_is_randomised_and_its_effect_is_the_difference_in_means(simulation: Simulation) -> None:
    sessions = simulation.sessions
    treated = sessions.treated > 0
    assert treated.mean() == pytest.approx(0.5, abs=SIGMAS * 0.5 / np.sqrt(len(sessions)))
    slow = np.log(sessions.kpis["lcp_ms"])
    assert abs(slow[treated].mean() - slow[~treated].mean()) < SIGMAS * slow.std() * 2 / np.sqrt(len(sessions))
    labels = sessions.converted.astype(float)
    difference = labels[treated].mean() - labels[~treated].mean()
    error = np.sqrt(labels[treated].var() / treated.sum() + labels[~treated].var() / (~treated).sum())
    # Each session's history is its own arm's past, but the next coin is independent of it.
    assert difference == pytest.approx(simulation.truth.treatment.effect, abs=SIGMAS * error)


def test_users_come_back_with_a_history(simulation: Simulation) -> None:
    sessions = simulation.sessions
    bought = np.bincount(sessions.user, weights=sessions.converted)
    assert (bought >= 2).mean() > 0.02
