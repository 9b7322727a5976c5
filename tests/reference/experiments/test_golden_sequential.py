import pytest

from trimtab.experiments.sequential import SequentialDesign, peeking_error, wang_tsiatis_bounds
from trimtab.experiments.spending import Spending


def test_lan_demets_one_sided_quarters() -> None:
    looks = SequentialDesign(4, alpha=0.05, alternative="greater").looks([1, 2, 3, 4])
    assert [look.bound for look in looks] == pytest.approx([3.74955, 2.53993, 2.01604, 1.72014], abs=1e-4)
    assert [look.spent for look in looks] == pytest.approx([8.85754e-5, 0.0055746, 0.0236251, 0.05], abs=1e-7)


def test_power_spending_at_uneven_looks() -> None:
    looks = SequentialDesign(810, alpha=0.01, spending=Spending("power", 2)).looks([250, 450, 630, 810])
    assert [look.nominal_p for look in looks] == pytest.approx([0.00095, 0.00241, 0.00410, 0.00636], abs=5e-6)


def test_rpact_design() -> None:
    looks = SequentialDesign(1, alpha=0.025, alternative="greater").looks([0.3, 0.6, 1.0])
    assert looks[1].spent == pytest.approx(0.0038, abs=5e-5)
    assert [look.bound for look in looks] == pytest.approx([3.9286, 2.6700, 1.9810], abs=5e-5)


@pytest.mark.parametrize(
    ("delta", "finals"), [(0.5, (2.1783, 2.2895, 2.3613, 2.4132)), (0.0, (1.9774, 2.0040, 2.0243, 2.0401))]
)
def test_classical_bounds(delta: float, finals: tuple[float, ...]) -> None:
    found = [wang_tsiatis_bounds(range(1, looks + 1), delta=delta)[-1] for looks in (2, 3, 4, 5)]
    assert found == pytest.approx(finals, abs=5e-5)


@pytest.mark.parametrize(
    ("looks", "bounds"), [(3, (3.7103, 2.5114, 1.9930)), (5, (4.8769, 3.3570, 2.6803, 2.2898, 2.0310))]
)
def test_lan_demets_two_sided(looks: int, bounds: tuple[float, ...]) -> None:
    found = [look.bound for look in SequentialDesign(looks).looks(range(1, looks + 1))]
    assert found == pytest.approx(bounds, abs=5e-5)


@pytest.mark.parametrize(
    ("looks", "error"),
    [
        (1, 0.0500),
        (2, 0.0831),
        (3, 0.1073),
        (4, 0.1262),
        (5, 0.1417),
        (10, 0.1934),
        (20, 0.2479),
        (50, 0.3204),
        (100, 0.3736),
    ],
)
def test_peeking_at_plus_minus_196(looks: int, error: float) -> None:
    # The tolerance is half a digit, and a hair: 50 looks give .320450004.
    assert peeking_error(looks) == pytest.approx(error, abs=5.01e-5)
