"""How often the gate's check of calibration is wrong, over many test sets of known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from trimtab.models.evaluate import Scored, evaluate
from trimtab.models.gate import judge

TEST_SETS = 300


def _passes(rows: int, *, offset: float) -> float:
    """Share of test sets on which a model passes whose log odds are all too high by `offset`."""
    passed = 0
    for seed in range(TEST_SETS):
        rng = np.random.default_rng([rows, seed])
        truth = expit(rng.normal(-1.5, 1.2, rows))
        label = (rng.random(rows) < truth).astype(np.float64)
        scored = Scored(expit(logit(truth) + offset), 0.5)
        evaluation = evaluate(
            "model", scored, label, baselines={}, segments=pd.DataFrame(), units=None, rng=rng, resamples=2
        )
        passed += next(check.passed for check in judge(evaluation).checks if check.name == "calibrated")
    return passed / TEST_SETS


@pytest.mark.parametrize("rows", [200, 1_000])
def test_a_calibrated_model_nearly_always_passes(rows: int) -> None:
    # The check is made for 0.977; four binomial standard errors are 0.035.
    assert _passes(rows, offset=0.0) > 0.94


def test_a_model_that_is_far_off_is_found_even_by_a_small_test_set() -> None:
    assert _passes(300, offset=1.0) < 0.05
    assert _passes(3_000, offset=0.4) < 0.05
