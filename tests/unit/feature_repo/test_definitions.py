import pytest

from feature_repo.definitions import KPI_VIEW, RECENCY_VIEW, UNIT_VIEW, define, model_service
from trimtab.errors import BadInput
from trimtab.sessions.inputs import history_features
from trimtab.sessions.spec import DatasetSpec, load_spec
from trimtab.testing.feature_store import visits_spec


def without(spec: DatasetSpec, *names: str) -> DatasetSpec:
    return spec.model_copy(update={"columns": {name: spec.columns[name] for name in spec.columns if name not in names}})


def test_every_kpi_has_a_history() -> None:
    spec = load_spec("ux_sessions")
    view = define(spec, "history.parquet").kpi_view
    assert view is not None
    assert [field.name for field in view.features] == [f"prior_mean_{name}" for name in spec.kpis]


@pytest.mark.parametrize(("version", "name"), [(None, "visits"), (4, "visits_v4")])
def test_service_gives_a_model_exactly_its_history(version: int | None, name: str) -> None:
    spec = visits_spec()
    service = model_service(define(spec, "history.parquet"), spec, version)
    given = [feature.name for part in service.feature_view_projections for feature in part.features]
    assert service.name == name
    assert sorted(given) == sorted(history_features(spec))
    assert {part.name for part in service.feature_view_projections} == {UNIT_VIEW, KPI_VIEW, RECENCY_VIEW}


def test_service_of_unknown_features_is_refused() -> None:
    with pytest.raises(BadInput, match=r"'odd'.*prior_mean_mood"):
        define(visits_spec(), "history.parquet").service("odd", ("prior_sessions", "prior_mean_mood"))


def test_spec_without_kpis_has_no_kpi_view() -> None:
    spec = without(visits_spec(), "lcp_ms", "seconds_on_site")
    definitions = define(spec, "history.parquet")
    assert definitions.kpi_view is None
    assert definitions.views == (definitions.unit_view,)
    assert model_service(definitions, spec).name == "visits"


def test_spec_without_history_is_refused() -> None:
    with pytest.raises(BadInput, match="no unit or no timestamp"):
        define(without(visits_spec(), "began"), "history.parquet")


def test_definitions_can_be_made_again() -> None:
    first, second = (define(visits_spec(), "history.parquet") for _ in range(2))
    assert first.recency_view == second.recency_view
