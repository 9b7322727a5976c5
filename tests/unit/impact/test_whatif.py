import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from trimtab.errors import TrimtabError
from trimtab.impact import whatif
from trimtab.impact.sample import draw_balanced
from trimtab.impact.study import ImpactStudy
from trimtab.impact.whatif import controllable, improve, study_impact
from trimtab.sessions.spec import DatasetSpec, KpiColumn

SPEC = DatasetSpec.model_validate(
    {
        "name": "tiny",
        "columns": {
            "bought": {"role": "label"},
            "lcp": {"role": "kpi", "direction": "lower", "layer": "frontend", "unit": "ms", "minimum": 0},
            "cache": {"role": "kpi", "direction": "higher", "layer": "backend", "minimum": 0, "maximum": 1},
            "noise": {"role": "kpi", "direction": "lower", "layer": "network"},
            "visits": {"role": "kpi", "direction": "higher", "layer": "behaviour", "controllable": False},
            "depth": {"role": "kpi", "direction": "higher", "layer": "behaviour", "known_at": "session_end"},
            "device": {"role": "attribute"},
        },
    }
)


def _frame(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "lcp": rng.gamma(4, 600, rows),
            "cache": rng.uniform(0, 1, rows),
            "noise": rng.normal(0, 1, rows),
            "visits": rng.poisson(3, rows),
            "depth": rng.poisson(5, rows),
            "device": rng.choice(["phone", "desktop"], rows),
        }
    )
    frame["bought"] = (rng.random(rows) < _predict(frame)).astype(int)
    return frame


def _predict(frame: pd.DataFrame) -> NDArray[np.float64]:
    score = -1.0 - 0.0006 * (frame["lcp"].fillna(2_400) - 2_400) + 0.5 * frame["cache"]
    return np.asarray(1 / (1 + np.exp(-score)))


def _study(frame: pd.DataFrame) -> ImpactStudy:
    return study_impact(frame, SPEC, _predict, threshold=0.5, rng=np.random.default_rng(5), resamples=300)


def test_only_request_time_kpis_that_can_be_changed_are_improved() -> None:
    assert list(controllable(SPEC)) == ["lcp", "cache", "noise"]
    assert _study(_frame(3_000)).left_out == ("depth",)


@pytest.mark.parametrize(
    ("direction", "value", "better"),
    [("lower", 100.0, 95.0), ("higher", 100.0, 105.0), ("lower", -100.0, -105.0), ("higher", -100.0, -95.0)],
)
def test_a_value_moves_in_the_kpis_own_direction(direction: str, value: float, better: float) -> None:
    kpi = KpiColumn.model_validate({"role": "kpi", "direction": direction, "layer": "backend"})
    assert improve(np.array([value]), kpi, 0.05) == pytest.approx([better])


def test_no_value_passes_the_bounds_and_missing_stays_missing() -> None:
    better = improve(np.array([0.98, 0.5, np.nan, 0.0]), SPEC.kpis["cache"], 0.08)
    np.testing.assert_allclose(better, [1.0, 0.54, np.nan, 0.0])


def test_the_ranking_follows_what_the_model_uses() -> None:
    study = _study(_frame(6_000))
    assert (study.sessions, study.converted) == (505, 253)
    assert [impact.kpi for impact in study.kpis] == ["lcp", "cache", "noise"]
    assert study.kpis[0].rank_low == study.kpis[0].rank_high == 1


def test_an_unused_kpi_is_worth_nothing() -> None:
    noise = _study(_frame(3_000)).kpis[-1].largest
    assert (noise.gained, noise.lost) == (0, 0)
    assert noise.sample.conversions.estimate == noise.population.relative.high == 0


def test_effects_equal_a_direct_calculation() -> None:
    frame = _frame(4_000)
    study = _study(frame)
    sample = draw_balanced(frame["bought"].to_numpy(), sessions=505, rng=np.random.default_rng(5))
    drawn = frame.iloc[sample.rows]
    before, after = _predict(drawn), _predict(drawn.assign(lcp=drawn["lcp"] * 0.95))
    five = study.kpis[0].improvements[0]
    assert five.level == 0.05
    assert five.sample.conversions.estimate == pytest.approx((after - before).sum())
    assert five.sample.relative.estimate == pytest.approx(after.sum() / before.sum() - 1)
    expected = np.average(after - before, weights=sample.weights)
    assert five.population.conversions.estimate == pytest.approx(1_000 * expected)
    assert five.gained == ((after >= 0.5) & (before < 0.5)).sum() > 0
    assert five.sample.flips.estimate == five.gained + five.lost


def test_a_larger_improvement_is_worth_more() -> None:
    changes = [part.population.conversions.estimate for part in _study(_frame(3_000)).kpis[0].improvements]
    assert changes == sorted(changes)
    assert len(changes) == 4


def test_every_interval_contains_its_estimate() -> None:
    for impact in _study(_frame(3_000)).kpis:
        for part in impact.improvements:
            for effect in (part.sample, part.population):
                for interval in (effect.flips, effect.conversions, effect.relative):
                    assert interval.low <= interval.estimate <= interval.high
        assert impact.rank_low <= impact.rank <= impact.rank_high


def test_missing_values_are_not_improved() -> None:
    frame = _frame(3_000)
    frame.loc[::2, "lcp"] = np.nan
    study = _study(frame)
    lcp = next(impact for impact in study.kpis if impact.kpi == "lcp")
    assert 200 < lcp.improvable < 300


def test_few_calls_of_the_model_give_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = _frame(3_000)
    whole = _study(frame)
    monkeypatch.setattr(whatif, "ROWS_PER_CALL", 700)
    assert _study(frame) == whole


def test_a_spec_without_controllable_kpis_gives_an_empty_ranking() -> None:
    spec = DatasetSpec.model_validate(
        {"name": "bare", "columns": {"bought": {"role": "label"}, "device": {"role": "attribute"}}}
    )
    study = study_impact(
        _frame(500), spec, lambda rows: np.full(len(rows), 0.2), threshold=0.5, rng=np.random.default_rng(1)
    )
    assert study.kpis == ()


def test_an_answer_that_is_no_probability_stops_the_study() -> None:
    with pytest.raises(TrimtabError, match=r"outside \[0, 1\]"):
        study_impact(
            _frame(500), SPEC, lambda rows: np.full(len(rows), np.nan), threshold=0.5, rng=np.random.default_rng(1)
        )
