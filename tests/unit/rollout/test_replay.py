import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.rollout.replay import replayed


@pytest.mark.parametrize("probability", [0.5, 0.2, 0.9])
def test_keeps_a_fair_sample_whatever_the_version_decides(probability: float) -> None:
    """The share kept is min(p, 1 - p) for either decision, and the kept outcomes are those of the decision."""
    rng = np.random.default_rng(3)
    rows = 60_000
    rate = np.where(rng.random(rows) < 0.5, 0.1, 0.4)  # half of the sessions convert more
    logged = rng.random(rows) < probability
    converted = rng.random(rows) < rate + 0.2 * logged
    decided = rate > 0.2
    kept = replayed(logged, decided, probability=probability, rng=rng)
    share = min(probability, 1 - probability)
    assert kept[decided].mean() == pytest.approx(share, abs=0.01)
    assert kept[~decided].mean() == pytest.approx(share, abs=0.01)
    assert converted[kept].mean() == pytest.approx((rate + 0.2 * decided).mean(), abs=0.02)
    assert (logged[kept] == decided[kept]).all()


def test_refuses_what_was_not_random() -> None:
    flags = np.array([True])
    with pytest.raises(BadInput, match="strictly between"):
        replayed(flags, flags, probability=1.0, rng=np.random.default_rng(0))
    with pytest.raises(BadInput, match="2 decisions"):
        replayed(flags, np.array([True, False]), probability=0.5, rng=np.random.default_rng(0))
