"""The section on validity: every check, what it measured, and which could not be made."""

from trimtab.experiments.analysis.result import Health, PhaseRatio
from trimtab.experiments.balance import SMD_LIMIT
from trimtab.report import words
from trimtab.report.document import Block, Cell, Heading, Note, Paragraph, Part, Table, head, row
from trimtab.report.experiment import numbers
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.over_time import trend_sentence

_PASS, _FAIL, _UNKNOWN = Cell("pass", tone="good"), Cell("fail", tone="bad"), Cell("not checked")


def validity(report: ExperimentReport) -> Part:
    """Whether the data may be believed."""
    health = report.analysis.health
    blocks: list[Block] = []
    if health.problems:
        blocks.append(Note("An experiment whose data fail a check has no winner.", health.problems, "bad"))
    blocks += [Table(head("Check", "~Found", "Status"), _checks(report)), Heading("Units by arm"), _arms(report)]
    if len(health.phases) > 1:
        blocks += [Heading("Sample ratio by phase"), _phases(health.phases)]
    if health.balance:
        blocks += [Heading("Alike before the start"), _balance(health)]
    blocks += [Paragraph(note, muted=True) for note in health.notes]
    return Part("validity", "Validity", "Validity checks", tuple(blocks))


def _checks(report: ExperimentReport) -> tuple[tuple[Cell, ...], ...]:
    health, spec = report.analysis.health, report.spec
    rows = [
        row(
            "Sample ratio",
            f"{numbers.p_value(health.srm.p_value)} (chi-square {health.srm.statistic:.3f}, "
            f"{health.srm.degrees_of_freedom} df); a mismatch below {spec.sample_ratio_alpha:g}",
            _FAIL if health.srm.mismatch else _PASS,
        ),
        _balance_check(health),
        _trend_check(report),
        _power_check(report),
    ]
    if spec.minimum_days:
        seen = len({day.day for day in report.analysis.days})
        enough = not any(f"at least {spec.minimum_days} were declared" in problem for problem in health.problems)
        rows.append(row("Length", f"{seen} days of at least {spec.minimum_days}", _PASS if enough else _FAIL))
    return tuple(rows)


def _balance_check(health: Health) -> tuple[Cell, ...]:
    lines = [line for covariates in health.balance.values() for line in covariates]
    if not lines:
        return row("Arms alike beforehand", "No covariate was measured before the exposure", _UNKNOWN)
    worst = max(lines, key=lambda line: abs(line.difference))
    found = (
        f"Largest difference {words.decimal(worst.difference, 3, signed=True)} deviations ({worst.covariate}); "
        f"the limit is {SMD_LIMIT:g}"
    )
    return row("Arms alike beforehand", found, _PASS if all(line.balanced for line in lines) else _FAIL)


def _trend_check(report: ExperimentReport) -> tuple[Cell, ...]:
    trend = report.analysis.health.novelty.get(report.treatment)
    if trend is None:
        why = "No time column" if report.spec.time is None else "Fewer than three days with data"
        return row("Effect steady over time", why, _UNKNOWN)
    return row("Effect steady over time", trend_sentence(report), _FAIL if trend.present else _PASS)


def _power_check(report: ExperimentReport) -> tuple[Cell, ...]:
    power = report.comparison.power if report.comparison else None
    if power is None:
        return row("Enough power", "No effect was declared that matters", _UNKNOWN)
    found = (
        f"{words.percent(power, 0)} for the declared effect of "
        f"{words.percent(report.spec.minimum_relative_effect, 1)}; planned {words.percent(report.spec.power, 0)}"
    )
    return row("Enough power", found, _PASS if power >= report.spec.power else Cell("low", tone="neutral"))


def _arms(report: ExperimentReport) -> Table:
    health, weights = report.analysis.health, report.analysis.experiment.weights
    total, whole = sum(health.counts.values()), sum(weights.values())
    rows = tuple(
        row(
            arm,
            words.percent(weights.get(arm, 0.0) / whole, 1) if not health.phases else "by phase",
            f"{health.srm.expected.get(arm, 0.0):,.0f}",
            f"{units:,}",
            words.percent(units / total, 2) if total else "none",
        )
        for arm, units in health.counts.items()
    )
    return Table(head("Arm", "#Configured", "#Expected units", "#Units", "#Share"), rows)


def _phases(phases: tuple[PhaseRatio, ...]) -> Table:
    rows = tuple(
        row(
            phase.starts,
            ", ".join(f"{arm} {units:,}" for arm, units in phase.counts.items()),
            numbers.plain_p(phase.srm.p_value),
            _FAIL if phase.srm.mismatch else _PASS,
        )
        for phase in phases
    )
    return Table(head("From", "Units", "#p", "Status"), rows)


def _balance(health: Health) -> Table:
    rows = tuple(
        row(
            Cell(line.covariate, arm),
            words.decimal(line.difference, 3, signed=True),
            numbers.plain_p(line.p_value),
            _PASS if line.balanced else _FAIL,
        )
        for arm, lines in health.balance.items()
        for line in lines
    )
    return Table(head("Covariate", "#Difference, in deviations", "#p", "Status"), rows)
