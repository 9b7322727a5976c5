"""Published vectors: GrowthBook's gbstats tests and tea-tasting's guide."""

import numpy as np
import pytest
import tea_tasting as tt

from trimtab.experiments.means import Measure, compare_means, theta
from trimtab.experiments.moments import Moments
from trimtab.experiments.proportions import Proportion, compare_proportions


def from_sums(n: int, y: float, yy: float, *, x: float = 0.0, xx: float = 0.0, xy: float = 0.0) -> Moments:
    sums = np.array([y, x])
    return Moments(("y", "x"), n, sums / n, np.array([[yy, xy], [xy, xx]]) - np.outer(sums, sums) / n)


A = from_sums(3407, 1396.87, 52377.9767)
B = from_sums(3461, 2422.7, 134698.29)


def test_welch_absolute() -> None:
    result = compare_means(A, B, Measure("y"))
    found = (result.absolute.estimate, result.absolute.low, result.absolute.high, result.p_value)
    assert found == pytest.approx((0.29, 0.04538, 0.53462, 0.02016), abs=5e-6)


def test_welch_relative_linear() -> None:
    effect = compare_means(A, B, Measure("y"), relative="linear").relative
    assert effect is not None
    found = (effect.estimate, effect.low, effect.high, effect.standard_error, effect.p_value)
    assert found == pytest.approx((0.70732, -0.03526, 1.44989, 0.37879, 0.06191), abs=5e-6)


def test_proportions_relative_linear() -> None:
    effect = compare_proportions(Proportion(14, 28), Proportion(16, 30), method="welch", relative="linear").relative
    assert effect is not None
    assert (effect.low, effect.high, effect.p_value) == pytest.approx((-0.47767, 0.61101, 0.80707), abs=5e-6)


def test_cuped_relative_to_the_unadjusted_baseline() -> None:
    control = from_sums(3001, 300, 600, x=210, xx=415, xy=-20)
    treatment = from_sums(3000, 222, 555, x=120, xx=405, xy=-10)
    effect = compare_means(control, treatment, Measure("y"), covariate=Measure("x"), relative="linear").relative
    assert effect is not None
    assert effect.estimate == pytest.approx(-0.281707154, abs=5e-10)
    assert effect.p_value == pytest.approx(0.003732549, abs=5e-10)
    assert (effect.low, effect.high) == pytest.approx((-0.472068, -0.091347), abs=5e-7)


def test_theta() -> None:
    moments = Moments.of({"x": [0.3, 0.5, 0.9, 22], "y": [2, 1, 5, 3]})
    assert theta(moments, Measure("y"), Measure("x")) == pytest.approx(0.018637910, abs=5e-10)


@pytest.mark.parametrize(
    ("measure", "covariate", "relative", "interval", "p_value"),
    [
        (Measure("revenue"), Measure("revenue_covariate"), 0.142735736, (0.038, 0.26), 0.0067439293),
        (
            Measure("orders", "sessions"),
            Measure("orders_covariate", "sessions_covariate"),
            0.121327565,
            (0.042, 0.21),
            0.0022929438,
        ),
    ],
)
def test_cuped_of_the_guide(
    measure: Measure, covariate: Measure, relative: float, interval: tuple[float, float], p_value: float
) -> None:
    frame = tt.make_users_data(rng=42, covariates=True).to_pandas()
    columns = [name for name in frame.columns if name not in ("user", "variant")]
    control, treatment = (
        Moments.of({name: frame.loc[frame["variant"] == variant, name].to_numpy() for name in columns})
        for variant in (0, 1)
    )
    result = compare_means(control, treatment, measure, covariate=covariate, baseline="adjusted")
    assert result.relative is not None
    assert result.relative.estimate == pytest.approx(relative, abs=5e-10)
    assert float(f"{result.relative.low:.2g}") == interval[0]
    assert float(f"{result.relative.high:.2g}") == interval[1]
    assert result.p_value == pytest.approx(p_value, abs=5e-11)
