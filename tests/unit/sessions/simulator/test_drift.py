import numpy as np
import pytest

from trimtab.errors import BadInput
from trimtab.sessions.simulator import DRIFTS, WorldConfig
from trimtab.sessions.simulator.catalogue import Array, categories, request_kpis
from trimtab.sessions.simulator.drift import named
from trimtab.sessions.simulator.outcome import Outcome
from trimtab.sessions.simulator.simulation import simulate_blocks
from trimtab.sessions.simulator.visits import Sessions, join


@pytest.fixture(scope="module")
def drifted() -> dict[str, Sessions]:
    return {name: _sessions(name) for name in DRIFTS}


def _sessions(drift: str) -> Sessions:
    config = WorldConfig(sessions=12_000, seed=3, drift=drift)
    return join([block.sessions for block in simulate_blocks(config)])


def _median_ratio(drifted: dict[str, Sessions], name: str, kpi: str) -> float:
    def median(sessions: Sessions) -> float:
        return float(np.nanmedian(sessions.kpis[kpi]))

    return median(drifted[name]) / median(drifted["none"])


def _share(sessions: Sessions, attribute: str, value: str) -> float:
    return float(np.mean(sessions.attributes[attribute] == categories(attribute).index(value)))


def test_a_slow_backend_slows_apis_and_pages_but_not_scripts(drifted: dict[str, Sessions]) -> None:
    assert _median_ratio(drifted, "slow_backend", "api_checkout_ms") > 1.5
    assert _median_ratio(drifted, "slow_backend", "ttfb_ms") > 1.15
    assert _median_ratio(drifted, "slow_backend", "lcp_ms") > 1.05
    assert _median_ratio(drifted, "slow_backend", "js_kb") == pytest.approx(1, abs=0.02)
    assert drifted["slow_backend"].p_actual.mean() < drifted["none"].p_actual.mean()


def test_a_mobile_shift_changes_who_comes(drifted: dict[str, Sessions]) -> None:
    assert _share(drifted["mobile_shift"], "device", "mobile") > _share(drifted["none"], "device", "mobile") + 0.15
    assert _share(drifted["mobile_shift"], "source", "social") > _share(drifted["none"], "source", "social") + 0.05


def test_a_release_regression_moves_inputs_and_the_concept(drifted: dict[str, Sessions]) -> None:
    assert _median_ratio(drifted, "release_regression", "js_kb") > 1.7
    assert _median_ratio(drifted, "release_regression", "inp_ms") > 1.5
    assert _median_ratio(drifted, "release_regression", "api_payment_ms") == pytest.approx(1, abs=0.02)
    assert Outcome().drifted(DRIFTS["release_regression"].concept) != Outcome()


def test_the_season_brings_mails_a_sale_and_load(drifted: dict[str, Sessions]) -> None:
    assert _share(drifted["seasonal"], "promotion", "on") == 1.0
    assert _share(drifted["seasonal"], "source", "email") > 1.3 * _share(drifted["none"], "source", "email")
    assert _median_ratio(drifted, "seasonal", "server_cpu_pct") > 1.2


def test_a_broken_pixel_loses_the_report_and_nothing_else(drifted: dict[str, Sessions]) -> None:
    def reported(name: str) -> dict[str, Array]:
        kpis = drifted[name].kpis
        return {kpi: values for kpi, values in kpis.items() if kpi != "inp_ms"}

    assert np.isnan(drifted["broken_pixel"].kpis["inp_ms"]).all()
    assert not np.isnan(drifted["none"].kpis["inp_ms"]).any()
    np.testing.assert_array_equal(drifted["broken_pixel"].converted, drifted["none"].converted)
    for kpi, values in reported("broken_pixel").items():
        np.testing.assert_array_equal(values, reported("none")[kpi])


def test_drifts_name_only_what_exists() -> None:
    for name, drift in DRIFTS.items():
        assert set(drift.scale) | set(drift.silent) <= set(request_kpis()), name
        assert set(drift.source_shift) <= set(categories("source")), name
        assert drift.description, name


def test_an_unknown_drift_is_bad_input_that_lists_the_known() -> None:
    with pytest.raises(BadInput, match="slow_backend"):
        named("fast_backend")
