from rich.console import Console

from trimtab.report.loop import LoopReport
from trimtab.report.terminal import terminal_table
from trimtab.testing.reports import loop_report, skipped_report


def _print(report: LoopReport) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(terminal_table(report))
    return capture.get()


def test_the_table_tells_the_whole_loop() -> None:
    text = _print(loop_report(rows=800))
    assert text.startswith("Ship version 2.")
    for part in ("80,000 sessions, 312 in quarantine", "lightgbm: AUC", "1. lcp_ms", "12.36% of 14,898 users",
                 "version 3, passed the quality gate", "4 min 14 s (longest at work: tune 1 min 02 s"):  # fmt: skip
        assert part in text


def test_a_warning_about_the_data_is_not_left_to_the_page() -> None:
    text = _print(loop_report(rows=800))
    assert "pages_viewed: Known only at session end" in text
    assert "keyed hash" not in text


def test_a_stage_that_did_not_run_says_why() -> None:
    text = _print(skipped_report("experiment", "promotion", reason="[no] unit column."))
    assert text.count("not run: [no] unit column.") == 2
