"""A dataset spec as Feast objects: one entity, one history in two views, one request-time view, services by version.

Every spec is a Feast project of its own, so that names stay short and two datasets never mix.
"""

from dataclasses import dataclass
from datetime import timedelta
from inspect import getsource
from typing import Any, Final

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource, ValueType
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.types import Float64, String

from trimtab.errors import BadInput
from trimtab.sessions.history import KNOWN_AT, LAST_SESSION, kpi_state, unit_state
from trimtab.sessions.inputs import DAYS_SINCE_LAST, has_history, history_features
from trimtab.sessions.spec import DatasetSpec

UNIT_VIEW: Final = "user_history"
KPI_VIEW: Final = "user_kpi_history"
RECENCY_VIEW: Final = "user_recency"
PUSH_SOURCE: Final = "finished_sessions"
REQUEST_TIME: Final = "request_epoch_seconds"

# A history does not expire: whether an old one still says something is for the model, which sees the days since.
_NEVER: Final = timedelta(0)


@dataclass(frozen=True)
class Definitions:
    """The Feast objects of one spec.

    Attributes:
        entity: The unit.
        unit_view: Visits, conversions and value of a unit.
        kpi_view: Mean of every KPI over a unit's sessions; None for a spec without KPIs.
        recency_view: Days since the last session, computed when a request comes.
        push_source: Where finished sessions update the online history.
    """

    entity: Entity
    unit_view: FeatureView
    kpi_view: FeatureView | None
    recency_view: OnDemandFeatureView
    push_source: PushSource

    @property
    def views(self) -> tuple[FeatureView, ...]:
        """The views that are stored."""
        return (self.unit_view,) if self.kpi_view is None else (self.unit_view, self.kpi_view)

    def objects(self) -> list[Any]:
        """Everything that `feast apply` registers, but services."""
        return [self.push_source, self.entity, *self.views, self.recency_view]

    def service(self, name: str, features: tuple[str, ...]) -> FeatureService:
        """A service that answers with exactly `features`, from whichever views hold them.

        Raises:
            BadInput: No view holds one of them.
        """
        parts, held = [], set()
        for view in (*self.views, self.recency_view):
            wanted = [field.name for field in view.features if field.name in features]
            held.update(wanted)
            if wanted:
                parts.append(view[wanted])
        if missing := [feature for feature in features if feature not in held]:
            raise BadInput(f"feature service '{name}': no history holds {', '.join(missing)}.")
        return FeatureService(name=name, features=parts)


def define(spec: DatasetSpec, history: str) -> Definitions:
    """The Feast objects of a spec.

    Args:
        spec: A spec with a unit and a timestamp.
        history: Path or URI of the Parquet file of `trimtab.sessions.history.history_states`.

    Raises:
        BadInput: The spec has no unit or no timestamp, so a session has no history.
    """
    if not has_history(spec):
        raise BadInput(
            f"spec '{spec.name}' has no unit or no timestamp column, so there are no features to store.",
            remedy="Give one column the role 'unit' and one the role 'timestamp'.",
        )
    entity = Entity(name=str(spec.unit), join_keys=[str(spec.unit)], value_type=ValueType.STRING)
    batch = FileSource(name="history", path=history, timestamp_field=KNOWN_AT)
    push = PushSource(name=PUSH_SOURCE, batch_source=batch)
    unit_view = _view(UNIT_VIEW, entity, push, unit_state(spec))
    kpi_view = _view(KPI_VIEW, entity, push, kpi_state(spec)) if spec.kpis else None
    return Definitions(entity, unit_view, kpi_view, _recency(unit_view), push)


def model_service(definitions: Definitions, spec: DatasetSpec, version: int | None = None) -> FeatureService:
    """The service of a model version; without one, that of the model being trained.

    A version's service is its own, so that a later spec never changes what an older version is given.
    """
    return definitions.service(service_name(spec, version), history_features(spec))


def service_name(spec: DatasetSpec, version: int | None = None) -> str:
    """`<spec>_v<version>`, or `<spec>` for the model being trained."""
    return spec.name if version is None else f"{spec.name}_v{version}"


def _view(name: str, entity: Entity, source: PushSource, features: tuple[str, ...]) -> FeatureView:
    fields = [Field(name=entity.join_key, dtype=String), *(Field(name=feature, dtype=Float64) for feature in features)]
    return FeatureView(name=name, entities=[entity], ttl=_NEVER, schema=fields, source=source, online=True)


def _recency(unit_view: FeatureView) -> OnDemandFeatureView:
    """Days since the last session: depends on when the request comes, so it cannot be stored."""
    # Built without Feast's decorator, which would change the function's module.
    return OnDemandFeatureView(
        name=RECENCY_VIEW,
        sources=[
            unit_view[[LAST_SESSION]],
            RequestSource(name="request", schema=[Field(name=REQUEST_TIME, dtype=Float64)]),
        ],
        schema=[Field(name=DAYS_SINCE_LAST, dtype=Float64)],
        mode="python",
        udf=_days_since_last_session,
        udf_string=getsource(_days_since_last_session),
    )


def _days_since_last_session(inputs: dict[str, Any]) -> dict[str, Any]:
    # Feast keeps this function as source text and runs it alone: it must bring its own imports.
    from trimtab.sessions.history import LAST_SESSION, days_since
    from trimtab.sessions.inputs import DAYS_SINCE_LAST

    return {DAYS_SINCE_LAST: days_since(inputs[LAST_SESSION], inputs["request_epoch_seconds"]).tolist()}
