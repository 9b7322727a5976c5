"""The dataset spec: what each column of a table means.

Nothing below the spec is tied to one schema. A spec names the role of each column; a stage asks the spec for the
columns that it needs, and says so when a role that it needs is absent.
"""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import available_timezones

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from trimtab.errors import BadInput
from trimtab.sessions.explain import explain, read_spec, suggestion

KnownAt = Literal["request", "session_end"]
Direction = Literal["lower", "higher"]
Layer = Literal["frontend", "backend", "network", "behaviour"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Column(_Strict):
    description: str = ""


class IdColumn(_Column):
    """Identifies the row; must be unique."""

    role: Literal["id"]


class UnitColumn(_Column):
    """Identifies what is randomised, normally a user; pseudonymised when the data are read."""

    role: Literal["unit"]


class TimestampColumn(_Column):
    """When the session began. Values carry a zone, or `timezone` declares theirs (an IANA name)."""

    role: Literal["timestamp"]
    timezone: str | None = None

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, timezone: str | None) -> str | None:
        if timezone is not None and timezone not in available_timezones():
            near = suggestion(timezone, available_timezones()) or "; write e.g. Europe/Berlin or UTC"
            raise ValueError(f"'{timezone}' is not an IANA time zone{near}")
        return timezone


class LabelColumn(_Column):
    """The binary outcome to predict; `positive` is the value that counts as a conversion."""

    role: Literal["label"]
    positive: bool | int | str = 1


class ValueColumn(_Column):
    """What the session brought in, e.g. revenue; known only with the label, never a model input."""

    role: Literal["value"]
    unit: str = ""


class KpiColumn(_Column):
    """A numeric measure of a session.

    Attributes:
        unit: Unit of the values, e.g. `ms`.
        direction: Whether lower or higher is better.
        layer: Where it is measured.
        controllable: Whether the business can change it.
        known_at: `request` where the value exists when the model is asked, `session_end` where it does not.
        minimum: Smallest valid value.
        maximum: Largest valid value.
        nullable: Whether a missing value is valid (it is imputed inside the model).
    """

    role: Literal["kpi"]
    unit: str = ""
    direction: Direction
    layer: Layer
    controllable: bool = True
    known_at: KnownAt = "request"
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = True

    @model_validator(mode="after")
    def _has_range(self) -> "KpiColumn":
        _check_range(self.minimum, self.maximum)
        return self


class AttributeColumn(_Column):
    """A property of the session or its user that nobody sets out to improve: device, country, plan.

    Attributes:
        kind: `categorical` (any value, as text) or `numeric`.
        categories: The valid values of a categorical attribute; any where absent.
        known_at: As for a KPI.
        segment: Whether results are also given per value.
        nullable: Whether a missing value is valid.
        minimum: Smallest valid value of a numeric attribute.
        maximum: Largest valid value of a numeric attribute.
        personal: Personal data (an e-mail, an address): pseudonymised when read, never a model input.
    """

    role: Literal["attribute"]
    kind: Literal["categorical", "numeric"] = "categorical"
    categories: tuple[str, ...] | None = None
    known_at: KnownAt = "request"
    segment: bool = False
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    personal: bool = False

    @field_validator("categories", mode="before")
    @classmethod
    def _as_text(cls, categories: object) -> object:
        if not isinstance(categories, list | tuple):
            return categories
        if any(isinstance(value, bool) for value in categories):
            raise ValueError("quote values such as 'yes', 'no', 'on' and 'off': YAML reads them as true and false")
        return tuple(str(value) if isinstance(value, int | float) else value for value in categories)

    @model_validator(mode="after")
    def _has_range(self) -> "AttributeColumn":
        _check_range(self.minimum, self.maximum)
        if self.kind == "numeric" and self.categories is not None:
            raise ValueError("'categories' is for kind 'categorical'; a numeric attribute has 'minimum' and 'maximum'")
        if self.kind == "categorical" and (self.minimum is not None or self.maximum is not None):
            raise ValueError("'minimum' and 'maximum' are for kind 'numeric'; a categorical one has 'categories'")
        return self


def _check_range(minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and maximum is not None and minimum > maximum:
        raise ValueError(f"minimum {minimum:g} is above maximum {maximum:g}")


class TreatmentColumn(_Column):
    """A binary action of the app that was randomised in the data, e.g. a lighter page.

    Attributes:
        positive: The value that means "the action was taken".
        probability: Share of sessions that were given the action at random.
    """

    role: Literal["treatment"]
    positive: bool | int | str = 1
    probability: float = Field(default=0.5, gt=0, lt=1)


class IgnoredColumn(_Column):
    """Present in the file and deliberately left out."""

    role: Literal["ignore"]


Column = Annotated[
    IdColumn
    | UnitColumn
    | TimestampColumn
    | LabelColumn
    | ValueColumn
    | KpiColumn
    | AttributeColumn
    | TreatmentColumn
    | IgnoredColumn,
    Field(discriminator="role"),
]

ColumnT = TypeVar("ColumnT", bound=_Column)


class QualityLimits(_Strict):
    """When validation stops a run.

    Attributes:
        max_rejected_share: Share of rows that may go to quarantine.
        leak_auc: A single column that ranks the label this well is flagged as a likely leak.
        min_rows: Fewest accepted rows to train on.
        min_class_rows: Fewest accepted rows of the rarer class.
    """

    max_rejected_share: float = Field(default=0.05, ge=0, le=1)
    leak_auc: float = Field(default=0.85, gt=0.5, le=1)
    min_rows: int = Field(default=200, ge=1)
    min_class_rows: int = Field(default=20, ge=1)


class DecisionCosts(_Strict):
    """What the two errors of a decision cost, in any one currency; the decision threshold follows.

    Attributes:
        false_positive: Acting on a session that would not have converted.
        false_negative: Not acting on a session that would have.
        action: Cost of one treatment, as a share of the value of one conversion; a version acts where
            the predicted uplift in conversion probability exceeds it.
    """

    false_positive: float = Field(default=1.0, gt=0)
    false_negative: float = Field(default=4.0, gt=0)
    action: float = Field(default=0.0, ge=0)


class FileFormat(_Strict):
    """How a CSV is written."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: str = Field(default=".", min_length=1, max_length=1)
    missing: tuple[str, ...] = ("", "NA", "NaN", "nan", "null", "NULL", "None")


class DatasetSpec(_Strict):
    """What each column of a table means; see `docs/bring-your-own-data.md`.

    Exactly one label; at most one id, unit, timestamp, value and treatment; at least one model input.

    Attributes:
        name: Also the name of the registered model.
        prediction_time: When the model is asked. With `request`, columns known only at session end are not inputs.
        columns: Column name to meaning.
        quality: When validation stops a run.
        costs: What wrong decisions cost.
        format: How a CSV is written.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    description: str = ""
    prediction_time: KnownAt = "request"
    columns: dict[str, Column]
    quality: QualityLimits = QualityLimits()
    costs: DecisionCosts = DecisionCosts()
    format: FileFormat = FileFormat()

    @field_validator("columns")
    @classmethod
    def _count_roles(cls, columns: dict[str, Column]) -> dict[str, Column]:
        for role in ("id", "unit", "timestamp", "label", "value", "treatment"):
            names = [name for name, column in columns.items() if column.role == role]
            if len(names) > 1:
                raise ValueError(
                    f"role '{role}' is given to {len(names)} columns ({', '.join(names)}); at most one may have it"
                )
            if role == "label" and not names:
                raise ValueError("no column has role 'label'; name the outcome to predict")
        return columns

    @model_validator(mode="after")
    def _has_inputs(self) -> "DatasetSpec":
        if not self.inputs:
            raise ValueError(
                "no column can be a model input: give at least one KPI or attribute that is known at prediction time"
            )
        return self

    def named(self, kind: type[ColumnT]) -> dict[str, ColumnT]:
        """Columns of one role, in the spec's order."""
        return {name: column for name, column in self.columns.items() if isinstance(column, kind)}

    def only(self, kind: type[ColumnT]) -> str | None:
        """Name of the single column of a role, or None where the role is absent."""
        return next(iter(self.named(kind)), None)

    @property
    def label(self) -> str:
        """Name of the label column."""
        return next(iter(self.named(LabelColumn)))

    @property
    def unit(self) -> str | None:
        """Name of the unit column."""
        return self.only(UnitColumn)

    @property
    def timestamp(self) -> str | None:
        """Name of the timestamp column."""
        return self.only(TimestampColumn)

    @property
    def id(self) -> str | None:
        """Name of the id column."""
        return self.only(IdColumn)

    @property
    def value(self) -> str | None:
        """Name of the value column."""
        return self.only(ValueColumn)

    @property
    def treatment(self) -> str | None:
        """Name of the treatment column."""
        return self.only(TreatmentColumn)

    @property
    def kpis(self) -> dict[str, KpiColumn]:
        """All KPIs."""
        return self.named(KpiColumn)

    @property
    def attributes(self) -> dict[str, AttributeColumn]:
        """All attributes."""
        return self.named(AttributeColumn)

    @property
    def measures(self) -> dict[str, KpiColumn | AttributeColumn]:
        """KPIs and attributes, in the spec's order."""
        return {
            name: column for name, column in self.columns.items() if isinstance(column, KpiColumn | AttributeColumn)
        }

    @property
    def segments(self) -> tuple[str, ...]:
        """Attributes by whose values results are split."""
        return tuple(name for name, column in self.attributes.items() if column.segment)

    @property
    def inputs(self) -> tuple[str, ...]:
        """KPIs and attributes that a model may use: known at prediction time and not personal."""
        return tuple(
            name
            for name, column in self.columns.items()
            if (isinstance(column, KpiColumn) or (isinstance(column, AttributeColumn) and not column.personal))
            and (self.prediction_time == "session_end" or column.known_at == "request")
        )


def shipped_specs() -> dict[str, Path]:
    """Specs that come with the package, by name."""
    folder = Path(str(resources.files("trimtab.sessions"))) / "specs"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_spec(name_or_path: str) -> DatasetSpec:
    """Read a dataset spec.

    Args:
        name_or_path: A YAML file, or the name of a shipped spec such as `ux_sessions`.

    Returns:
        The validated spec.

    Raises:
        BadInput: The file is absent, not YAML, or not a valid spec; the message names each wrong field.
    """
    path = shipped_specs().get(name_or_path, Path(name_or_path))
    if not path.is_file():
        near = suggestion(name_or_path, shipped_specs())
        raise BadInput(
            f"spec '{name_or_path}' is neither a file nor a shipped spec{near or '.'}",
            remedy=f"Give a YAML file or one of: {', '.join(shipped_specs())}.",
        )
    raw = read_spec(path, remedy="Start from one of the specs in examples/.")
    try:
        return DatasetSpec.model_validate(raw)
    except ValidationError as error:
        raise BadInput(
            f"spec '{path}' is not valid: {explain(error, DatasetSpec)}", remedy="See docs/bring-your-own-data.md."
        ) from error


def dump_spec(spec: DatasetSpec) -> str:
    """The spec as YAML, equal for equal specs."""
    return yaml.safe_dump(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=False)
