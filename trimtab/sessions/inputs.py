"""What a model of a spec is given: request-time columns, and a user's history.

The one place that decides it, so that training, the feature repository, serving and the what-if agree.
History features describe a unit as of *before* the session; a KPI known only at session end may enter this way.
"""

from dataclasses import dataclass

from trimtab.sessions.spec import AttributeColumn, DatasetSpec

# Aggregates over a unit's earlier sessions. Meaning: number of earlier sessions; how many converted; the share that
# converted (missing for a new unit); mean value of an earlier session; days since the last one began (missing for a
# new unit). The value feature exists only where the spec has a value column.
PRIOR_SESSIONS = "prior_sessions"
PRIOR_CONVERSIONS = "prior_conversions"
PRIOR_CONVERSION_RATE = "prior_conversion_rate"
PRIOR_VALUE_MEAN = "prior_value_mean"
DAYS_SINCE_LAST = "days_since_last_session"
PRIOR_MEAN_PREFIX = "prior_mean_"  # + KPI name: mean of the KPI over earlier sessions


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """Names of a model's inputs, in a fixed order.

    Attributes:
        numeric: Request-time KPIs and numeric attributes, then history features.
        categorical: Categorical attributes.
        history: The members of `numeric` that come from the feature store.
        treatment: The randomised action, given as a 0/1 input of its own; None where the spec has none.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    history: tuple[str, ...]
    treatment: str | None

    @property
    def request(self) -> tuple[str, ...]:
        """What a request carries: every input but history and treatment, numeric first."""
        history = set(self.history)
        return (*(name for name in self.numeric if name not in history), *self.categorical)


def has_history(spec: DatasetSpec) -> bool:
    """Whether rows can be ordered within a unit, so that a history exists."""
    return spec.unit is not None and spec.timestamp is not None


def history_features(spec: DatasetSpec) -> tuple[str, ...]:
    """Names of the history features that a model of this spec uses; empty without unit or timestamp."""
    if not has_history(spec):
        return ()
    late = [name for name, column in spec.kpis.items() if column.known_at == "session_end"]
    value = (PRIOR_VALUE_MEAN,) if spec.value else ()
    return (
        PRIOR_SESSIONS,
        PRIOR_CONVERSIONS,
        PRIOR_CONVERSION_RATE,
        *value,
        DAYS_SINCE_LAST,
        *(PRIOR_MEAN_PREFIX + name for name in late),
    )


def model_inputs(spec: DatasetSpec) -> ModelInputs:
    """The inputs of a model of this spec."""
    categorical = tuple(
        name
        for name in spec.inputs
        if isinstance(column := spec.columns[name], AttributeColumn) and column.kind == "categorical"
    )
    numeric = tuple(name for name in spec.inputs if name not in categorical)
    history = history_features(spec)
    return ModelInputs((*numeric, *history), categorical, history, spec.treatment)
