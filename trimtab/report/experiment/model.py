"""What the report of an experiment is made of."""

from dataclasses import dataclass, field
from datetime import datetime

from trimtab.experiments.analysis.result import (
    Analysis,
    ArmComparison,
    ArmVerdict,
    DailyEffect,
    MetricResult,
    Segmentation,
)
from trimtab.experiments.business import BusinessCase
from trimtab.experiments.spec import ExperimentSpec


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """An analysis with what it takes to read and to repeat it.

    Attributes:
        analysis: What was found.
        spec: The rules that were applied.
        made_at: Aware time of the report.
        locked: Whether the rules were written down before the start.
        command: Command line that makes it again; empty where unknown.
        data_sha256: SHA-256 of the data file; empty where the data are not a file.
        versions: Version by library.
    """

    analysis: Analysis
    spec: ExperimentSpec
    made_at: datetime
    locked: bool = False
    command: str = ""
    data_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether the effects may be read at all."""
        return not self.analysis.health.problems

    @property
    def treatment(self) -> str:
        """The treatment that the verdict is about; empty where there is none."""
        return self.analysis.verdict.treatment

    @property
    def several(self) -> bool:
        """Whether there is more than one treatment."""
        return len(self.analysis.verdict.arms) > 1

    @property
    def primary(self) -> MetricResult:
        """The metric that decides."""
        return self.analysis.metrics[self.analysis.experiment.primary]

    @property
    def comparison(self) -> ArmComparison | None:
        """The treatment that the verdict is about, on the primary metric; None where the data allow none."""
        return find(self.primary, self.treatment)

    @property
    def arm_verdict(self) -> ArmVerdict | None:
        """The decision matrix of that treatment."""
        return next((arm for arm in self.analysis.verdict.arms if arm.treatment == self.treatment), None)

    @property
    def case(self) -> BusinessCase | None:
        """What that treatment is worth, where business figures were declared."""
        return self.analysis.business.get(self.treatment)

    @property
    def days(self) -> tuple[DailyEffect, ...]:
        """That treatment's effect over time."""
        return tuple(day for day in self.analysis.days if day.treatment == self.treatment)

    @property
    def segments(self) -> tuple[Segmentation, ...]:
        """That treatment's effect by segment."""
        return tuple(part for part in self.analysis.segments if part.treatment == self.treatment)

    def named(self, role: str) -> dict[str, MetricResult]:
        """Metrics of a role."""
        return {name: metric for name, metric in self.analysis.metrics.items() if metric.role == role}


def find(metric: MetricResult, treatment: str) -> ArmComparison | None:
    """The comparison of one treatment; None where the data allow none."""
    return next((one for one in metric.comparisons if one.treatment == treatment), None)
