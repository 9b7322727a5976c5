from dataclasses import replace
from pathlib import Path
from typing import cast

import orjson
import pytest

from trimtab.errors import BadInput
from trimtab.report.folder import replaced
from trimtab.report.loop import DataSection
from trimtab.report.publish import publish
from trimtab.testing.reports import skipped_report


def test_a_report_replaces_the_one_before(tmp_path: Path) -> None:
    out = tmp_path / "reports" / "latest"
    publish(skipped_report(), out)
    (out / "stale.html").write_text("old")
    drift = tmp_path / "evidently.html"
    drift.write_text("drift")
    published = publish(skipped_report(), out, attachments={"drift.html": drift})
    assert sorted(path.name for path in out.iterdir()) == ["drift.html", "index.html", "summary.json"]
    assert published.html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert orjson.loads(published.summary.read_bytes())["schema_version"] == 1
    assert [path.name for path in out.parent.iterdir()] == ["latest"]


def test_a_failure_leaves_the_report_before_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "latest"
    publish(skipped_report(), out)
    before = (out / "index.html").read_bytes()
    broken = replace(skipped_report(), data=cast(DataSection, object()))
    with pytest.raises(Exception, match="object has no attribute"):
        publish(broken, out)
    assert (out / "index.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_the_report_before_comes_back_where_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    out = tmp_path / "latest"
    publish(skipped_report(), out)
    with pytest.raises(FileNotFoundError), replaced(out, marker="summary.json") as fresh:
        fresh.rmdir()
    assert (out / "index.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_a_folder_of_other_work_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for out in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(BadInput, match="is not a report"):
            publish(skipped_report(), out)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    assert publish(skipped_report(), tmp_path / "latest").html.is_file()


def test_readers_of_the_folder_are_let_in(tmp_path: Path) -> None:
    published = publish(skipped_report(), tmp_path / "latest")
    assert published.html.parent.stat().st_mode & 0o055
