"""The section for the analyst: the rules, the estimators with their sources, the spec, and how to repeat it."""

from collections.abc import Iterator

from trimtab.experiments.spec import dump_experiment
from trimtab.report import words
from trimtab.report.document import Block, Bullets, Cell, Code, Heading, Note, Paragraph, Part, Table, head, row
from trimtab.report.experiment.model import ExperimentReport

_CORRECTIONS = {
    "bonferroni": "Bonferroni correction: p times the size of the family.",
    "holm": "Holm's step-down correction (S. Holm 1979, Scandinavian Journal of Statistics 6).",
    "bh": "False discovery rate (Y. Benjamini and Y. Hochberg 1995, JRSS B 57).",
    "benjamini_hochberg": "False discovery rate (Y. Benjamini and Y. Hochberg 1995, JRSS B 57).",
}


def methods(report: ExperimentReport) -> Part:
    """Everything that it takes to repeat the analysis."""
    subject = report.analysis.experiment
    blocks: list[Block] = [
        Bullets(subject.method),
        Heading("Estimators"),
        _estimators(report),
        Heading("Sources"),
        Bullets(sources(report)),
        Heading("Rules, as declared"),
        *_declared(report),
        Code(dump_experiment(report.spec), "yaml"),
        Heading("To make it again"),
    ]
    if report.command:
        blocks.append(Code(report.command, "sh"))
    made = [("Data", subject.data), ("SHA-256 of the data", report.data_sha256 or "not a file"),
            ("Hash of the rules", subject.spec_hash), *report.versions.items()]  # fmt: skip
    blocks.append(Table(head("What", "Which"), tuple(row(name, value) for name, value in made)))
    return Part("methods", "Methods", "Methods", tuple(blocks))


def sources(report: ExperimentReport) -> tuple[str, ...]:
    """The literature behind the numbers of this very report."""
    return tuple(dict.fromkeys(_sources(report)))


def _declared(report: ExperimentReport) -> list[Block]:
    subject = report.analysis.experiment
    if subject.changes:
        before = "locked before the start" if report.locked else "in the spec"
        strong = f"The rules changed: {subject.declared_hash} {before}, {subject.spec_hash} applied."
        return [Note(strong, subject.changes, "bad")]
    if report.locked:
        text = f"The rules are those that were locked before the start; their hash is {subject.spec_hash}."
    else:
        text = f"The rules (hash {subject.spec_hash}) were not locked before the start, so a change cannot show."
    return [Paragraph(text)]


def _estimators(report: ExperimentReport) -> Table:
    rows = [
        row(Cell(name, metric.role), metric.kind, one.method, report.spec.metrics[name].covariate or "none")
        for name, metric in report.analysis.metrics.items()
        for one in metric.comparisons[:1]
    ]
    return Table(head("Metric", "Kind", "~Estimator", "Covariate"), tuple(rows))


def _sources(report: ExperimentReport) -> Iterator[str]:
    spec, metrics = report.spec, report.analysis.metrics.values()
    yield "Sample ratio: Pearson's chi-square against the configured weights (A. Fabijan et al. 2019, KDD)."
    if report.analysis.health.balance:
        yield "Covariate balance: standardised mean differences, limit 0.1 (P. C. Austin 2009, Stat. Med. 28)."
    kinds = {metric.kind for metric in metrics}
    if "mean" in kinds:
        yield "Means: Welch's t test with Welch-Satterthwaite degrees of freedom (B. L. Welch 1947, Biometrika 34)."
    if "ratio" in kinds:
        yield "Ratios: delta method, the unit being what was randomised (A. Deng et al. 2018, KDD)."
    if "quantile" in kinds:
        yield "Quantiles: order statistics, with a standard error from their density at the quantile."
    if any(metric.covariate for metric in spec.metrics.values()):
        yield "CUPED: regression on a covariate from before the exposure (A. Deng et al. 2013, WSDM)."
    if any(one.relative for metric in metrics for one in metric.comparisons):
        scale = "on the log scale (D. Katz et al. 1978, Biometrics 34)" if spec.relative_scale == "log" else "linear"
        yield f"Relative intervals: delta method, {scale}."
    if len(spec.metrics) > 1 or report.segments:
        yield from [text for key, text in _CORRECTIONS.items() if key == spec.correction]
    yield from _more_sources(report)


def _more_sources(report: ExperimentReport) -> Iterator[str]:
    metrics = report.analysis.metrics.values()
    found = [one for metric in metrics for one in metric.comparisons]
    if any(one.noninferiority for one in found):
        yield "Guardrails: one-sided non-inferiority against the relative margin, alpha / 2 (W. C. Blackwelder 1982)."
    if any(one.sequential for one in found):
        yield "Looks: alpha spending (K. K. G. Lan and D. L. DeMets 1983); C. Jennison and B. W. Turnbull 2000."
    if any(one.always_valid for one in found):
        yield "Watching: asymptotic confidence sequences (I. Waudby-Smith et al. 2024, Annals of Statistics 52)."
    if any(part.heterogeneity for part in report.segments):
        yield "Segments: Cochran's Q test of equal effects (W. G. Cochran 1954, Biometrics 10)."
    if report.analysis.health.novelty:
        yield "Steadiness: weighted least squares of the daily effects on the day, known variances, z test at 0.01."
    priors = dict.fromkeys(one.bayesian.prior for one in found if one.bayesian)
    if priors:
        yield f"Bayesian comparison: exact posteriors, priors {' and '.join(priors)}."
    if report.case is not None:
        level = words.percent(1 - report.spec.alpha, 0)
        yield f"Business: linear extrapolation of the absolute effect and its {level} interval."
