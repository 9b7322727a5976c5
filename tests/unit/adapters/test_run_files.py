from pathlib import Path

import pytest

from trimtab.adapters.run_files import RunFiles
from trimtab.errors import NotFound, TrimtabError, Unavailable

Report = tuple[str, int, int, str]


def _collect(files: RunFiles, *, start: int = 0) -> tuple[list[Report], int]:
    reports: list[Report] = []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        reports.append((stage, done, total, note))

    end = files.forward(progress, start=start)
    return reports, end


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "r")
    files.progress("train", 0, 9)
    first, end = _collect(files)
    files.progress("train", 9, 9, "done")
    second, _ = _collect(files, start=end)
    assert (first, second) == ([("train", 0, 9, "")], [("train", 9, 9, "done")])


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "r")
    files.progress("train", 0, 9)
    with (files.folder / "progress.jsonl").open("ab") as file:
        file.write(b'["train", 9')
    assert _collect(files)[0] == [("train", 0, 9, "")]


def test_a_stage_that_reports_all_the_time_is_thinned_but_ends(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "r")
    for done in range(10_001):
        files.progress("train", done, 10_000)
    reports = _collect(files)[0]
    assert len(reports) < 1_000
    assert (reports[0][1], reports[-1][1]) == (0, 10_000)


@pytest.mark.parametrize("kind", [NotFound, Unavailable, TrimtabError])
def test_an_expected_error_comes_back_as_it_was(tmp_path: Path, kind: type[TrimtabError]) -> None:
    files = RunFiles(tmp_path, "r")
    with pytest.raises(SystemExit) as left, files.failures("train"):
        raise kind("no such thing.", remedy="Make it.")
    assert left.value.code == kind.exit_code
    failure = RunFiles(tmp_path, "r").failure()
    assert failure is not None
    error = failure.error(log=tmp_path)
    assert (type(error), error.message, error.remedy) == (kind, "no such thing.", "Make it.")


def test_a_new_attempt_forgets_the_last_ones_failure_but_not_results(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "r")
    with pytest.raises(ZeroDivisionError), files.failures("train"):
        raise ZeroDivisionError
    (files.folder / "validate.json").write_text("{}")
    files.reset()
    assert files.failure() is None
    assert (files.folder / "validate.json").is_file()
