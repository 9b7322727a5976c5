from dataclasses import replace

import pytest

from trimtab.report.document import Block, Cell, Folded, Note, Paragraph, Part, Table
from trimtab.report.experiment import business, effects, launch, matrix, methods, risks, segments, validity
from trimtab.report.experiment.model import ExperimentReport
from trimtab.testing.experiment_reports import METRICS, simulated_report


def _all(blocks: tuple[Block, ...]) -> list[Block]:
    found: list[Block] = []
    for block in blocks:
        found += [block, *(_all(block.blocks) if isinstance(block, Folded) else [])]
    return found


def _tables(part: Part) -> list[Table]:
    return [block for block in _all(part.blocks) if isinstance(block, Table)]


def _texts(part: Part) -> str:
    found = []
    for block in _all(part.blocks):
        if isinstance(block, Paragraph):
            found.append(block.text)
        if isinstance(block, Note):
            found += [block.strong, *block.lines]
        if isinstance(block, Table):
            found += [f"{cell.text} {cell.note}" for line in block.rows for cell in line]
    return " ".join(found)


def _column(table: Table, label: str) -> list[Cell]:
    place = [column.label for column in table.columns].index(label)
    return [line[place] for line in table.rows]


def test_every_row_has_a_cell_for_every_column(shipped: ExperimentReport, faulty: ExperimentReport) -> None:
    for report in (shipped, faulty, simulated_report(lifts={"control": 0, "A": 0.2, "B": 0.0}, share=1 / 3)):
        for section in (
            matrix.decision_matrix, matrix.sensitivity, effects.effects, effects.guardrails, segments.segments,
            validity.validity, business.business, risks.risk_section, launch.launch, methods.methods,
        ):  # fmt: skip
            for table in _tables(section(report)):
                assert {len(line) for line in table.rows} <= {len(table.columns)}


def test_the_matrix_shows_every_criterion(shipped: ExperimentReport) -> None:
    (table,) = _tables(matrix.decision_matrix(shipped))
    assert len(table.rows) == len(shipped.analysis.verdict.arms[0].criteria)
    assert {cell.tone for cell in _column(table, "Status")} == {"good"}


def test_nothing_passes_of_faulty_data(faulty: ExperimentReport) -> None:
    (table,) = _tables(matrix.decision_matrix(faulty))
    assert [cell.text for cell in _column(table, "Status")] == ["fail", *["not judged"] * (len(table.rows) - 1)]
    for part in (effects.effects(faulty), effects.guardrails(faulty), segments.segments(faulty)):
        assert not any(isinstance(block, Table) for block in part.blocks), "only folded, for finding the fault"
    assert "better" not in {cell.text for cell in _column(_tables(segments.segments(faulty))[0], "Claim")}
    assert "fault" in _texts(business.business(faulty))
    assert business.steps(faulty) == ()
    assert "Not judged" in _texts(matrix.sensitivity(faulty))
    assert "nothing to launch" in _texts(launch.launch(faulty))


def test_segments_that_do_not_differ_carry_no_claim() -> None:
    report = simulated_report(lifts={"control": 0.0, "treatment": 0.08})
    (part,) = report.segments
    assert part.heterogeneity is not None
    level = replace(part, differs=False, segments=tuple(replace(one, claim="better") for one in part.segments))
    assert {segments.claim(level, one).text for one in level.segments} == {"no claim"}
    said, advice = segments.interaction(report, level)
    assert "not shown to differ" in said
    assert "no reason to treat it apart" in advice[0]


def test_harm_in_a_segment_is_always_said() -> None:
    report = simulated_report(lifts={"control": 0.0, "treatment": 0.08})
    (part,) = report.segments
    harmed = replace(part, differs=False, segments=(replace(part.segments[0], claim="worse"), *part.segments[1:]))
    assert segments.claim(harmed, harmed.segments[0]) == Cell("worse", tone="bad")
    assert "shown to be worse" in segments.interaction(report, harmed)[1][0]


def test_segments_that_differ_are_named() -> None:
    report = simulated_report(lifts={"control": 0.0, "treatment": 0.3})
    (part,) = report.segments
    assert part.differs
    said, alone = segments.interaction(report, part)
    assert said.startswith("Effects differ by device")
    assert "mobile" in alone[0]


def test_the_arithmetic_of_money_adds_up(shipped: ExperimentReport) -> None:
    made = {step.name: step.result for step in business.steps(shipped)}
    per, year, revenue, net, back, months = made.values()
    found = shipped.comparison
    assert found is not None
    for end in ("estimate", "low", "high"):
        values = [getattr(step, end) for step in (per, year, revenue, net, back, months)]
        assert values[0] == pytest.approx(getattr(found.absolute, end))
        assert values[1] == pytest.approx(values[0] * 2e6)
        assert values[2] == pytest.approx(values[1] * 40)
        assert values[3] == pytest.approx(values[2] - 250_000)
        assert values[4] == pytest.approx(values[3] / 250_000)
        assert values[5] == pytest.approx(12 * 250_000 / values[2] if values[2] > 0 else float("inf"))


def test_a_loss_never_pays_back(harmful: ExperimentReport) -> None:
    last = business.steps(harmful)[-1]
    assert last.result is None
    assert "never" in _texts(business.business(harmful))
    assert "does not rule out a loss" in business.summary_sentence(harmful)


def test_sensitivity_says_where_the_verdict_moves(shipped: ExperimentReport) -> None:
    assert matrix.moved_sentence(shipped).startswith("No: each of ")
    rows = shipped.analysis.sensitivity
    moved = (*rows[:1], replace(rows[1], decision="hold", moves=True), *rows[2:])
    other = replace(shipped, analysis=replace(shipped.analysis, sensitivity=moved))
    assert matrix.moved_sentence(other) == f"Yes, 1 of {len(rows) - 1} other choices would: {rows[1].variation}: hold."
    assert any(risk.name == "Depends on choices" for risk in risks.risks(other))


def test_checks_that_could_not_be_made_are_not_passed() -> None:
    metrics = {"conversion": METRICS["conversion"]}
    report = simulated_report(time=None, metrics=metrics, minimum_relative_effect=0.0)
    status = _column(_tables(validity.validity(report))[0], "Status")
    assert [cell.text for cell in status] == ["pass", "not checked", "not checked", "not checked"]


def test_a_mismatch_shows_where_the_units_went(faulty: ExperimentReport) -> None:
    checks, arms = _tables(validity.validity(faulty))[:2]
    assert _column(checks, "Status")[0] == Cell("fail", tone="bad")
    assert [cell.text for cell in _column(arms, "Expected units")] == ["10,000", "10,000"]


def test_risks_come_gravest_first_and_from_values(shipped: ExperimentReport) -> None:
    changed = simulated_report(lifts={"control": 0.0, "treatment": 0.2}, changes=("alpha: 0.01 became 0.05",))
    first = risks.risks(changed)[0]
    assert (first.level, first.name) == ("high", "Rules changed")
    assert "alpha: 0.01 became 0.05" in first.found
    names = {risk.name for risk in risks.risks(shipped)}
    assert "Rules not locked" in names
    assert "latency deteriorates" in names, "it is 1% slower, beyond chance, though inside its margin"
    assert "Novelty unknown" not in names


def test_changed_rules_are_shown_with_both_hashes() -> None:
    changed = simulated_report(changes=("alpha: 0.01 became 0.05",))
    text = _texts(methods.methods(changed))
    assert "0123456789abcdef locked before the start" in text
    assert changed.analysis.experiment.spec_hash in text
    assert "alpha: 0.01 became 0.05" in text


def test_sources_are_those_of_the_methods_in_use(shipped: ExperimentReport, watched: ExperimentReport) -> None:
    def about(report: ExperimentReport) -> str:
        return " ".join(methods.sources(report))

    assert "CUPED" in about(shipped)
    assert "Holm" in about(shipped)
    assert "confidence sequences" not in about(shipped)
    assert "confidence sequences" in about(watched)
    assert "CUPED" not in about(simulated_report(metrics={"conversion": METRICS["conversion"]}))


def test_without_guardrails_or_segments_the_report_says_so() -> None:
    report = simulated_report(metrics={"conversion": METRICS["conversion"]}, segments=[])
    assert "No guardrail was declared" in _texts(effects.guardrails(report))
    assert "No segment was analysed" in _texts(segments.segments(report))
    assert "No business figures" in _texts(business.business(report))
