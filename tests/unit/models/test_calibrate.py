import numpy as np
import pytest
from scipy.special import expit, logit

from trimtab.models.calibrate import Calibration, calibrate


def test_it_undoes_a_known_distortion() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(-1.5, 1.2, 40_000)
    label = (rng.random(40_000) < expit(true)).astype(float)
    fitted = calibrate(2.0 * true + 0.5, label)
    assert fitted.temperature == pytest.approx(2.0, rel=0.05)
    assert fitted.bias == pytest.approx(-0.25, abs=0.05)
    recovered = logit(fitted.probability(2.0 * true + 0.5))
    assert np.abs(recovered - true).max() < 0.4


def test_few_positives_get_a_temperature_only() -> None:
    rng = np.random.default_rng(0)
    label = np.zeros(2_000)
    label[:20] = 1
    fitted = calibrate(rng.normal(size=2_000) + 2 * label - 4, label)
    assert fitted.bias == 0
    assert fitted.temperature > 0


@pytest.mark.parametrize("label", [np.zeros(50), np.ones(50)])
def test_one_class_changes_nothing(label: np.ndarray) -> None:
    assert calibrate(np.linspace(-1, 1, 50), label) == Calibration()


def test_ranking_is_never_reversed() -> None:
    logits = np.linspace(-3, 3, 400)
    assert calibrate(logits, (logits < 0).astype(float)).temperature > 0


def test_separable_labels_stay_finite() -> None:
    logits = np.linspace(-3, 3, 400)
    fitted = calibrate(logits, (logits > 0).astype(float))
    assert np.isfinite([fitted.temperature, fitted.bias]).all()
    assert fitted.temperature < 1
