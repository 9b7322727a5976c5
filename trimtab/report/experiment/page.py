"""The report of an experiment as a document, a page and JSON."""

from dataclasses import asdict
from typing import Any

from trimtab.experiments.spec import dump_experiment
from trimtab.report.document import Document
from trimtab.report.environment import environment
from trimtab.report.experiment import headline
from trimtab.report.experiment.business import business, steps
from trimtab.report.experiment.effects import effects, guardrails
from trimtab.report.experiment.launch import launch
from trimtab.report.experiment.matrix import decision_matrix, sensitivity
from trimtab.report.experiment.methods import methods, sources
from trimtab.report.experiment.model import ExperimentReport
from trimtab.report.experiment.over_time import over_time
from trimtab.report.experiment.risks import risk_section, risks
from trimtab.report.experiment.segments import segments
from trimtab.report.experiment.validity import validity


def experiment_document(report: ExperimentReport) -> Document:
    """The report as sections of blocks, from which page and Markdown are made.

    Args:
        report: What to show.
    """
    subject = report.analysis.experiment
    return Document(
        title=f"Experiment {subject.name}",
        kicker=f"Experiment {subject.name}",
        lead=headline.lead(report),
        cards=headline.cards(report),
        sections=(
            headline.recommendation(report),
            decision_matrix(report),
            effects(report),
            over_time(report),
            segments(report),
            guardrails(report),
            validity(report),
            sensitivity(report),
            business(report),
            risk_section(report),
            launch(report),
            methods(report),
        ),
        foot=f"Rules {subject.spec_hash}, data {subject.data}, made {report.made_at.strftime('%Y-%m-%d %H:%M %Z')}.",
    )


def render_document(document: Document) -> str:
    """A document as one HTML file that needs nothing but itself.

    Args:
        document: What to show.
    """
    return (
        environment()
        .get_template("document.html")
        .render(document=document, lead=document.lead, cards=document.cards, sections=document.sections)
    )


def experiment_json(report: ExperimentReport) -> dict[str, Any]:
    """The report for machines: the analysis as `experiment analyze --json` gives it, and what the page adds.

    Args:
        report: What to write.
    """
    return {
        "schema_version": 1,
        "headline": headline.lead(report),
        "next_steps": headline.next_steps(report),
        "business_steps": [asdict(step) for step in steps(report)],
        "risks": [asdict(risk) for risk in risks(report)],
        "sources": sources(report),
        "spec": dump_experiment(report.spec),
        "command": report.command,
        "data_sha256": report.data_sha256,
        "versions": report.versions,
        "made_at": report.made_at,
        "analysis": report.analysis,
    }
