import numpy as np
import pyarrow as pa
import pytest

from trimtab.sessions.simulator import Simulation
from trimtab.sessions.simulator.aftermath import CONSEQUENCES
from trimtab.sessions.simulator.catalogue import categories, improvement, late_kpis, request_kpis, spec
from trimtab.sessions.simulator.mechanisms import MECHANISMS
from trimtab.sessions.simulator.visits import sessions_table
from trimtab.sessions.spec import AttributeColumn, load_spec


def test_there_are_45_kpis_of_which_39_are_known_at_request_time() -> None:
    assert (len(spec().kpis), len(request_kpis()), len(late_kpis())) == (45, 39, 6)


def test_each_kpi_of_the_spec_has_exactly_one_mechanism() -> None:
    assert set(MECHANISMS) == set(request_kpis())
    assert set(CONSEQUENCES) == set(late_kpis())


def test_every_kpi_declares_unit_bounds_and_description() -> None:
    for name, kpi in spec().kpis.items():
        assert kpi.unit, name
        assert kpi.description, name
        assert kpi.minimum is not None, name
        assert kpi.maximum is not None, name


def test_improving_follows_the_direction() -> None:
    assert improvement(spec().kpis["lcp_ms"], 0.05) == pytest.approx(0.95)
    assert improvement(spec().kpis["cache_hit_ratio"], 0.05) == pytest.approx(1.05)


def test_the_table_has_the_columns_of_the_spec_in_their_order(simulation: Simulation) -> None:
    table = sessions_table(simulation.sessions)
    assert table.column_names == list(load_spec("ux_sessions").columns)
    assert table.schema.field("started_at").type == pa.timestamp("ns", tz="UTC")
    assert len(set(table["session_id"].to_pylist())) == table.num_rows


def test_every_value_is_valid_by_the_spec(simulation: Simulation) -> None:
    frame = sessions_table(simulation.sessions).to_pandas()
    for name, kpi in spec().kpis.items():
        values = frame[name].to_numpy()
        assert np.nanmin(values) >= (kpi.minimum or 0), name
        assert np.nanmax(values) <= (kpi.maximum or np.inf), name
        assert kpi.nullable or not np.isnan(values).any(), name
    for name, attribute in spec().attributes.items():
        assert isinstance(attribute, AttributeColumn)
        if attribute.kind == "categorical":
            assert set(frame[name]) <= set(categories(name)), name


def test_only_nullable_kpis_without_direct_effect_are_lost(simulation: Simulation) -> None:
    effects = {effect.kpi: effect.direct["5%"] for effect in simulation.truth.effects}
    lost = {name for name, values in simulation.sessions.kpis.items() if np.isnan(values).any()}
    assert lost
    assert all(effects[name] == 0 for name in lost)
