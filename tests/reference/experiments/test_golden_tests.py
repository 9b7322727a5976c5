"""Non-inferiority and multiplicity vectors."""

import pytest

from trimtab.experiments.multiplicity import adjust
from trimtab.experiments.noninferiority import noninferior_proportions
from trimtab.experiments.proportions import Proportion

# Benjamini and Hochberg (1995), section 3.2: thrombolysis after myocardial infarction.
BENJAMINI_HOCHBERG = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
]  # fmt: skip


def test_noninferiority() -> None:
    """The treatment has 940 of 1000, control 950; the margin is two points."""
    control, treatment = Proportion(950, 1000), Proportion(940, 1000)
    wald = noninferior_proportions(control, treatment, margin=0.02, method="wald")
    assert wald.statistic == pytest.approx(0.981052, abs=5e-7)
    assert wald.p_value == pytest.approx(0.163283, abs=5e-7)
    # For the score p-value of the vectors see test_golden_proportions.


def test_rejections_of_benjamini_and_hochberg() -> None:
    assert sum(p < 0.05 for p in adjust(BENJAMINI_HOCHBERG, method="benjamini_hochberg")) == 4
    assert sum(p < 0.05 for p in adjust(BENJAMINI_HOCHBERG, method="holm")) == 3
    assert sum(p < 0.05 for p in adjust(BENJAMINI_HOCHBERG, method="bonferroni")) == 3
