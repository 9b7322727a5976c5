"""Reading and judging columns; what the command shows of it is tested end to end."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.sessions.load import read_table
from trimtab.sessions.privacy import pseudonym
from trimtab.sessions.spec import DatasetSpec, load_spec
from trimtab.sessions.validation import Finding, Validated, validate

KEY = b"a key of sixteen bytes"
ROWS = 300
COLUMNS: dict[str, dict[str, object]] = {
    "bought": {"role": "label"},
    "lcp_ms": {"role": "kpi", "direction": "lower", "layer": "frontend"},
    "device": {"role": "attribute"},
}


def judge(
    folder: Path,
    columns: Mapping[str, Mapping[str, object]],
    parquet: bool = False,
    top: dict[str, object] | None = None,
    **data: object,
) -> Validated:
    """Write a file with `data` added to three ordinary columns, and validate it."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "bought": rng.integers(0, 2, ROWS),
            "lcp_ms": rng.gamma(4.0, 500.0, ROWS),
            "device": rng.choice(["mobile", "desktop"], ROWS),
        }
    )
    for name, values in data.items():
        table[name] = values  # type: ignore[call-overload]
    path = folder / ("data.parquet" if parquet else "data.csv")
    if parquet:
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    spec = DatasetSpec.model_validate({"name": "shop", "columns": {**COLUMNS, **columns}, **(top or {})})
    return validate(read_table(path, spec.format), spec, key=KEY)


def found(validated: Validated, check: str) -> list[Finding]:
    return [finding for finding in validated.findings if finding.check == check]


@pytest.mark.parametrize(
    ("written", "timezone", "expected"),
    [
        ("2026-11-22T14:00:00Z", None, "2026-11-22 14:00"),
        ("2026-11-22T14:00:00+01:00", None, "2026-11-22 13:00"),
        ("2026-11-22 14:00:00.250-0500", None, "2026-11-22 19:00:00.250"),
        ("2026-11-22 14:00", "Europe/Berlin", "2026-11-22 13:00"),
        ("2026-07-22 14:00", "Europe/Berlin", "2026-07-22 12:00"),
        ("2026-11-22T14:00:00Z", "Europe/Berlin", "2026-11-22 14:00"),
        ("2026-11-22", "UTC", "2026-11-22 00:00"),
    ],
)
def test_times_are_read_in_their_zone(written: str, timezone: str | None, expected: str, tmp_path: Path) -> None:
    spec = {"at": {"role": "timestamp", "timezone": timezone}}
    validated = judge(tmp_path, spec, at=written)
    assert (validated.frame["at"] == pd.Timestamp(expected, tz="UTC")).all()


@pytest.mark.parametrize("written", ["2026-10-25 02:30", "2026-03-29 02:30"])
def test_hours_that_the_clock_shows_twice_or_never_are_rejected(written: str, tmp_path: Path) -> None:
    times = ["2026-11-22 14:00"] * (ROWS - 1) + [written]
    validated = judge(tmp_path, {"at": {"role": "timestamp", "timezone": "Europe/Berlin"}}, at=times)
    assert validated.rejected == 1
    assert "twice or never on the clock in Europe/Berlin" in validated.quarantine["reasons"][0]


@pytest.mark.parametrize("typed", [True, False])
def test_parquet_times_need_a_zone_too(typed: bool, tmp_path: Path) -> None:
    at = pd.Timestamp("2026-11-22 14:00", tz="Europe/Berlin" if typed else None)
    if typed:
        validated = judge(tmp_path, {"at": {"role": "timestamp"}}, parquet=True, at=at)
        assert (validated.frame["at"] == at).all()
    else:
        with pytest.raises(BadInput, match="no time zone in any row"):
            judge(tmp_path, {"at": {"role": "timestamp"}}, parquet=True, at=at)


def test_a_time_beyond_what_can_be_stored_is_rejected_not_wrapped(tmp_path: Path) -> None:
    times = ["2026-11-22T14:00:00Z"] * (ROWS - 1) + ["9999-12-31T00:00:00Z"]
    assert judge(tmp_path, {"at": {"role": "timestamp"}}, at=times).rejected == 1


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (["TRUE", "FALSE"], True),
        (["1.0", "0.0"], 1),
        (["yes", "No"], "YES"),
        (["true", "false"], 1),
        ([True, False], True),
    ],
)
@pytest.mark.parametrize("parquet", [True, False])
def test_labels_are_read_by_their_meaning(
    values: list[object], positive: object, parquet: bool, tmp_path: Path
) -> None:
    spec = {"bought": {"role": "label", "positive": positive}}
    validated = judge(tmp_path, spec, parquet=parquet, bought=values * (ROWS // 2))
    assert validated.frame["bought"].tolist() == [1, 0] * (ROWS // 2)


def test_nested_values_are_refused_where_they_are_needed(tmp_path: Path) -> None:
    nested = [["a", "b"]] * ROWS
    with pytest.raises(BadInput, match=r"column 'device' .* not single values"):
        judge(tmp_path, {}, parquet=True, device=nested)
    assert judge(tmp_path, {}, parquet=True, tags=nested).rejected == 0


def test_a_constant_column_is_left_out_and_said(tmp_path: Path) -> None:
    validated = judge(tmp_path, {"beta": {"role": "attribute"}}, beta="on")
    assert [finding.column for finding in found(validated, "constant")] == ["beta"]
    assert "beta" not in validated.frame
    assert "beta" not in validated.spec.columns


def test_a_likely_leak_is_flagged_and_a_copy_left_out(tmp_path: Path) -> None:
    bought = np.random.default_rng(2).integers(0, 2, ROWS)
    kpi = {"role": "kpi", "direction": "higher", "layer": "behaviour"}
    noise = np.random.default_rng(3).normal(size=ROWS)
    validated = judge(tmp_path, {"basket": kpi, "paid": kpi}, bought=bought, basket=noise + 2 * bought, paid=bought)
    assert [finding.column for finding in found(validated, "leak")] == ["basket"]
    assert [finding.column for finding in found(validated, "copy")] == ["paid"]
    assert "basket" in validated.frame
    assert "paid" not in validated.frame


def test_what_is_known_late_is_no_input_and_no_leak(tmp_path: Path) -> None:
    bought = np.arange(ROWS) % 2
    late = {"role": "kpi", "direction": "higher", "layer": "behaviour", "known_at": "session_end"}
    validated = judge(tmp_path, {"paid": late}, bought=bought, paid=bought)
    assert found(validated, "known_at")[0].message.startswith("paid is known only at session end")
    assert not found(validated, "copy")
    assert "paid" not in validated.spec.inputs
    at_end = judge(tmp_path, {"paid": late}, top={"prediction_time": "session_end"}, bought=bought, paid=bought)
    assert found(at_end, "copy")


def test_declared_personal_attributes_are_pseudonyms(tmp_path: Path) -> None:
    mails = [f"u{number}@example.org" for number in range(ROWS)]
    validated = judge(tmp_path, {"mail": {"role": "attribute", "personal": True}}, mail=mails)
    assert validated.frame["mail"].tolist() == [pseudonym(mail, KEY) for mail in mails]
    assert "mail" not in validated.spec.inputs


def test_personal_data_under_an_innocent_name_become_pseudonyms(tmp_path: Path) -> None:
    mails = [f"u{number}@example.org" for number in range(ROWS)]
    validated = judge(tmp_path, {"contact": {"role": "attribute"}}, contact=mails)
    assert found(validated, "personal")[0].column == "contact"
    assert not validated.frame["contact"].str.contains("@").any()
    assert "contact" not in validated.spec.inputs


def test_a_single_address_among_ordinary_values_is_masked(tmp_path: Path) -> None:
    campaigns = [f"campaign {number % 40}" for number in range(ROWS - 1)] + ["ann@example.org"]
    validated = judge(tmp_path, {"campaign": {"role": "attribute"}}, campaign=campaigns)
    assert validated.frame["campaign"].tolist()[-1] == pseudonym("ann@example.org", KEY)
    assert validated.frame["campaign"].tolist()[:-1] == campaigns[:-1]
    assert "campaign" in validated.spec.inputs


def test_other_remarks(tmp_path: Path) -> None:
    validated = judge(
        tmp_path,
        {
            "code": {"role": "attribute"},
            "rare": {"role": "kpi", "direction": "lower", "layer": "backend"},
            "action": {"role": "treatment", "probability": 0.5},
            "left": {"role": "ignore"},
        },
        code=[f"c{number}" for number in range(ROWS)],
        rare=[1.0, 2.0, 3.0] + [None] * (ROWS - 3),
        action=(np.arange(ROWS) % 10 == 0).astype(int),
        left="x",
        other=1,
    )
    remarks = {(finding.check, finding.column) for finding in validated.findings}
    assert {("cardinality", "code"), ("missing", "rare"), ("treatment", "action"), ("columns", "")} <= remarks
    assert sorted(map(str, validated.frame)) == ["action", "bought", "code", "device", "lcp_ms", "rare"]


def test_equal_rows_without_an_id_are_reported_and_kept(tmp_path: Path) -> None:
    twice = np.repeat(np.arange(ROWS // 2), 2)
    validated = judge(tmp_path, {}, bought=twice % 2, lcp_ms=twice, device="m" + pd.Series(twice % 3).astype(str))
    assert found(validated, "duplicates")[0].rows == ROWS // 2
    assert len(validated.frame) == ROWS


def test_a_rare_outcome_is_said(tmp_path: Path) -> None:
    assert found(judge(tmp_path, {}, bought=[1, 1] + [0] * (ROWS - 2)), "balance")[0].rows == 2


@pytest.mark.skipif("TRIMTAB_DATA_DIR" not in os.environ, reason="TRIMTAB_DATA_DIR names no folder with the UCI file")
def test_the_uci_file() -> None:
    spec = load_spec("online_shoppers")
    path = Path(os.environ["TRIMTAB_DATA_DIR"]) / "online_shoppers_intention.csv"
    validated = validate(read_table(path, spec.format), spec, key=KEY)
    assert (len(validated.frame), validated.rejected, int(validated.frame["Revenue"].sum())) == (12_330, 0, 1_908)
    assert {(finding.check, finding.column, finding.rows) for finding in validated.findings} == {
        ("leak", "PageValues", 12_330),
        ("duplicates", "", 125),
    }
    assert len(validated.spec.inputs) == 17
