"""The intervals of the what-if cover the effect over all sessions as often as they promise."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from trimtab.impact.whatif import study_impact
from trimtab.sessions.spec import DatasetSpec

SPEC = DatasetSpec.model_validate(
    {
        "name": "tiny",
        "columns": {
            "bought": {"role": "label"},
            "lcp": {"role": "kpi", "direction": "lower", "layer": "frontend"},
        },
    }
)
STUDIES = 400


def _predict(frame: pd.DataFrame) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(1.5 + 0.0008 * (frame["lcp"] - 2_400))))


def test_95_percent_intervals_cover_the_population_effect() -> None:
    rng = np.random.default_rng(20)
    population = pd.DataFrame({"lcp": rng.gamma(4, 600, 60_000)})
    before, after = _predict(population), _predict(population * 0.92)
    population["bought"] = (rng.random(len(population)) < before).astype(int)
    # The truth for the natural mix of this population: mean change within each class, weighted by class.
    truth = after.sum() / before.sum() - 1
    covered = 0
    for _ in range(STUDIES):
        study = study_impact(population, SPEC, _predict, threshold=0.5, rng=rng, levels=(0.08,), resamples=300)
        interval = study.kpis[0].largest.population.relative
        covered += interval.low <= truth <= interval.high
    low, high = stats.binom.interval(0.999, STUDIES, 0.95)
    assert low <= covered <= high
