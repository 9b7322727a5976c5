import numpy as np
import pytest

from trimtab.sessions.simulator.catalogue import Array, request_kpis
from trimtab.sessions.simulator.mechanisms import MECHANISMS, propagate
from trimtab.sessions.simulator.simulation import Block


def _change(block: Block, kpi: str, factor: float = 0.9) -> dict[str, Array]:
    """Change of each KPI when one mechanism is multiplied."""
    after = propagate(block.context, block.noise, scale={kpi: factor})
    return {name: after[name] - block.kpis[name] for name in after}


def test_a_faster_first_byte_propagates_along_the_chain_and_nowhere_else(block: Block) -> None:
    change = _change(block, "ttfb_ms")
    for name in ("fcp_ms", "lcp_ms", "dom_interactive_ms", "dom_complete_ms", "load_event_ms"):
        assert change[name].mean() < 0, name
        assert change[name].max() <= 0, name
    for name in ("dns_ms", "rtt_ms", "db_time_ms", "api_search_ms", "tbt_ms", "image_kb"):
        assert not change[name].any(), name


def test_less_javascript_unblocks_the_main_thread(block: Block) -> None:
    change = _change(block, "js_kb")
    for name in ("page_weight_kb", "tbt_ms", "inp_ms", "fcp_ms", "lcp_ms"):
        assert change[name].mean() < 0, name
    assert not change["ttfb_ms"].any()


def test_a_held_kpi_stops_the_chain(block: Block) -> None:
    held = {"fcp_ms": block.kpis["fcp_ms"]}
    after = propagate(block.context, block.noise, scale={"ttfb_ms": 0.9}, held=held)
    np.testing.assert_array_equal(after["lcp_ms"], block.kpis["lcp_ms"])
    assert (after["ttfb_ms"] < block.kpis["ttfb_ms"]).all()


def test_a_better_cache_spares_the_database_and_the_apis(block: Block) -> None:
    change = _change(block, "cache_hit_ratio", 1.05)
    for name in ("db_time_ms", "ttfb_ms", "api_checkout_ms", "lcp_ms"):
        assert change[name].mean() < 0, name
    assert not change["api_payment_ms"].any()


@pytest.mark.parametrize("kpi", request_kpis())
def test_no_effect_precedes_its_cause(block: Block, kpi: str) -> None:
    change = _change(block, kpi)
    for earlier in list(MECHANISMS)[: list(MECHANISMS).index(kpi)]:
        assert not change[earlier].any(), earlier


def test_the_largest_paint_never_precedes_the_first(block: Block) -> None:
    assert (block.kpis["lcp_ms"] >= block.kpis["fcp_ms"]).all()
    assert (block.kpis["fcp_ms"] > block.kpis["ttfb_ms"]).all()


def test_one_network_quality_moves_all_timings_together(block: Block) -> None:
    logs = np.log([block.kpis[name] for name in ("rtt_ms", "ttfb_ms", "fcp_ms", "lcp_ms")])
    assert (np.corrcoef(logs)[np.triu_indices(4, 1)] > 0.3).all()
    assert np.corrcoef(np.log(block.kpis["tbt_ms"]), np.log(block.kpis["inp_ms"]))[0, 1] > 0.5
