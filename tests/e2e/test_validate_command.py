"""`trimtab validate` on files as people have them: good ones, and every kind of bad one."""

import gzip
import json
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from trimtab.cli import app
from trimtab.errors import BadInput
from trimtab.sessions.load import read_table
from trimtab.steps.validate import Result

ROWS = 400
SPEC = {
    "name": "shop",
    "columns": {
        "session": {"role": "id"},
        "user": {"role": "unit"},
        "at": {"role": "timestamp"},
        "bought": {"role": "label", "positive": "yes"},
        "lcp_ms": {"role": "kpi", "unit": "ms", "direction": "lower", "layer": "frontend", "minimum": 0},
        "errors": {"role": "kpi", "direction": "lower", "layer": "backend", "nullable": False},
        "device": {"role": "attribute", "categories": ["mobile", "desktop"], "segment": True},
    },
}


def good_sessions(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "session": [f"s{number}" for number in range(rows)],
            "user": [f"user-{number % 60}" for number in range(rows)],
            "at": pd.date_range("2026-11-01T00:00:00Z", periods=rows, freq="min").strftime("%Y-%m-%dT%H:%M:%SZ"),
            "bought": np.where(rng.random(rows) < 0.3, "yes", "no"),
            "lcp_ms": rng.gamma(4.0, 500.0, rows).round(1),
            "errors": rng.poisson(0.4, rows),
            "device": rng.choice(["mobile", "desktop"], rows),
        }
    )


@dataclass
class Workshop:
    """A folder with data and a spec, and the command to run on them."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def home(self) -> Path:
        return self.folder / "state"

    def data(self, table: pd.DataFrame, **options: object) -> Path:
        path = self.folder / "sessions.csv"
        table.to_csv(path, **{"index": False, **options})  # type: ignore[call-overload]
        return path

    def text(self, content: str | bytes, name: str = "sessions.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def spec(self, **changes: object) -> Path:
        """The spec with columns replaced (None removes one) and other fields set by `top`."""
        top = changes.pop("top", {})
        columns = {**SPEC["columns"], **changes}  # type: ignore[dict-item]
        columns = {name: column for name, column in columns.items() if column is not None}
        path = self.folder / "spec.yaml"
        path.write_text(yaml.safe_dump({**SPEC, **top, "columns": columns}, sort_keys=False))  # type: ignore[dict-item]
        return path

    def run(self, data: Path, spec: Path | str, *options: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        with pytest.raises(SystemExit) as stop:
            app.main(["validate", "--data", str(data), "--spec", str(spec), *options])
        shown = self.capture.readouterr()
        return int(stop.value.code or 0), shown.out, shown.err

    def result(self, data: Path, spec: Path | str) -> Result:
        code, out, err = self.run(data, spec, "--json")
        assert code == 0, err
        return TypeAdapter(Result).validate_json(out)


@pytest.fixture
def workshop(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("TRIMTAB_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TRIMTAB_PSEUDONYM_KEY", raising=False)
    monkeypatch.delenv("TRIMTAB_PROFILE", raising=False)
    return Workshop(tmp_path, capsys)


Cell = str | float | None


def with_cells(column: str, cells: dict[int, Cell]) -> pd.DataFrame:
    table = good_sessions().astype(object)
    for row, value in cells.items():
        table.loc[row, column] = value
    return table


def with_column(column: str, values: Cell | list[str]) -> pd.DataFrame:
    table = good_sessions()
    table[column] = values
    return table


Case = tuple[Callable[[Workshop], tuple[Path, Path]], tuple[str, ...]]

BAD: dict[str, Case] = {
    "missing file": (lambda w: (w.folder / "absent.csv", w.spec()), ("no file", "absent.csv", "--data")),
    "a folder": (lambda w: (w.folder, w.spec()), ("is a folder", "one CSV or Parquet")),
    "empty file": (lambda w: (w.text(""), w.spec()), ("sessions.csv' is empty", "Export")),
    "blank file": (lambda w: (w.text("\n\n \n"), w.spec()), ("sessions.csv' is empty",)),
    "header only": (lambda w: (w.data(good_sessions(0)), w.spec()), ("a header and no rows",)),
    "semicolons": (lambda w: (w.data(good_sessions(), sep=";"), w.spec()), ("delimited by ';'", 'delimiter: ";"')),
    "tabs": (lambda w: (w.data(good_sessions(), sep="\t"), w.spec()), ("delimited by a tab", 'delimiter: "\\t"')),
    "not UTF-8": (
        lambda w: (w.text("session,user\ns1,Jos\xe9\n".encode("latin-1")), w.spec()),
        ("not UTF-8", "line 2", "0xe9", "iconv"),
    ),
    "a spreadsheet": (lambda w: (w.text(b"PK\x03\x04rest"), w.spec()), ("spreadsheet or zip", "Export")),
    "a text called parquet": (
        lambda w: (w.text("session,user\n", "sessions.parquet"), w.spec()),
        ("cannot be read as Parquet", "suffix .csv"),
    ),
    "a cut gzip": (
        lambda w: (w.text(gzip.compress(b"session\n1\n" * 99)[:24], "sessions.csv.gz"), w.spec()),
        ("damaged gzip",),
    ),
    "an open quote": (
        lambda w: (w.text('session,user\n"s1,u1\n' + "s2,u2\n" * 9), w.spec()),
        ("sessions.csv", "quot"),
    ),
    "repeated names": (
        lambda w: (w.text("session,user,user\n1,2,3\n"), w.spec()),
        ("more than one column named 'user'", "Rename"),
    ),
    "a nameless column": (lambda w: (w.data(good_sessions(), index=True), w.spec()), ("column 1", "no name", "index")),
    "all rows too long": (
        lambda w: (w.text("session,user\n1,2,3\n4,5,6\n"), w.spec()),
        ("none of its 2 rows has 2 fields", "the first has 3"),
    ),
    "absent column": (
        lambda w: (w.data(good_sessions().rename(columns={"lcp_ms": "LCP_msec"})), w.spec()),
        ("no column 'lcp_ms'", "did you mean 'LCP_msec'?", "session, user, at"),
    ),
    "label of three values": (
        lambda w: (w.data(with_cells("bought", {0: "maybe", 7: "maybe"})), w.spec()),
        ("'bought' (label)", "3 values", "'maybe' (2 rows)", "'no' (2"),
    ),
    "one class": (
        lambda w: (w.data(with_column("bought", "no")), w.spec()),
        ("'bought' (label)", "one value only", "'no' (400 rows)"),
    ),
    "positive never there": (
        lambda w: (w.data(good_sessions()), w.spec(bought={"role": "label", "positive": 1})),
        ("'bought' (label)", "never has its positive value '1'", "positive: yes"),
    ),
    "all-missing column": (
        lambda w: (w.data(with_column("lcp_ms", np.nan)), w.spec()),
        ("column 'lcp_ms'", "no value in any of the 400 rows", "out of the spec"),
    ),
    "non-numeric KPI": (
        lambda w: (w.data(with_column("lcp_ms", "fast")), w.spec()),
        (
            "column 'lcp_ms' (kpi)",
            "400 of its 400 values",
            "line 2: 'fast' is not a number",
            "sessions.csv",
            "role: attribute",
        ),
    ),
    "a tenth of a KPI": (
        lambda w: (w.data(with_cells("lcp_ms", dict.fromkeys(range(40), "fast"))), w.spec()),
        ("40 of the 400 rows", "column 'lcp_ms'", "'fast' is not a number", "sessions.csv", "max_rejected_share"),
    ),
    "decimal commas": (
        lambda w: (w.data(good_sessions(), decimal=",", sep=";"), w.spec(top={"format": {"delimiter": ";"}})),
        ("column 'lcp_ms'", "is not a number", 'decimal: ","'),
    ),
    "duplicate ids": (
        lambda w: (w.data(with_column("session", "s1")), w.spec()),
        ("column 'session'", "'s1' is the id of an earlier row", "399", "one row per id"),
    ),
    "times without zone": (
        lambda w: (w.data(with_column("at", "2026-11-22 14:00:00")), w.spec()),
        ("column 'at' (timestamp)", "no time zone", "2026-11-22 14:00:00", "timezone: Europe/Berlin"),
    ),
    "times that are none": (
        lambda w: (w.data(with_column("at", "yesterday")), w.spec(at={"role": "timestamp", "timezone": "UTC"})),
        ("column 'at'", "'yesterday' is not an ISO 8601 time"),
    ),
    "too few rows": (
        lambda w: (w.data(good_sessions(60)), w.spec()),
        ("60 good rows", "at least 200", "min_rows"),
    ),
    "too few of a kind": (
        lambda w: (w.data(with_column("bought", ["yes"] * 3 + ["no"] * 397)), w.spec()),
        ("'bought' (label)", "positive in 3 of 400", "min_class_rows"),
    ),
    "misspelt field": (
        lambda w: (w.data(good_sessions()), w.spec(device={"role": "attribute", "segmnt": True})),
        ("spec.yaml", "columns.device", "'segmnt' is not a field of role 'attribute'", "did you mean 'segment'?"),
    ),
    "only constant inputs": (
        lambda w: (
            w.data(good_sessions().assign(lcp_ms=1.0, errors=0, device="mobile")),
            w.spec(),
        ),
        ("no column is left as a model input", "device, errors, lcp_ms"),
    ),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_input_is_one_clear_message(case: str, workshop: Workshop) -> None:
    prepare, fragments = BAD[case]
    data, spec = prepare(workshop)
    code, out, err = workshop.run(data, spec)
    said = " ".join(err.split())
    assert code == 2
    assert out == ""
    assert said.startswith("error: ")
    assert said.count("error: ") == 1
    assert "what to do: " in said
    assert "Traceback" not in said
    for fragment in fragments:
        assert fragment in said


def test_a_url_is_not_taken_for_a_path(workshop: Workshop) -> None:
    with pytest.raises(BadInput, match="is a URL; data are read from files"):
        read_table("s3://shop/sessions.parquet")


def test_an_error_for_machines_is_json(workshop: Workshop) -> None:
    code, out, err = workshop.run(workshop.folder / "absent.csv", workshop.spec(), "--json")
    assert (code, out) == (2, "")
    assert json.loads(err)["error"]["kind"] == "BadInput"


def test_good_rows_become_a_snapshot(workshop: Workshop) -> None:
    result = workshop.result(workshop.data(good_sessions()), workshop.spec())
    assert (result.read, result.rows, result.rejected, result.quarantine) == (ROWS, ROWS, 0, "")
    assert result.conversion_rate == pytest.approx((good_sessions()["bought"] == "yes").mean())
    frame = pd.read_parquet(Path(result.snapshot) / "sessions.parquet")
    assert list(frame) == ["session", "user", "at", "bought", "lcp_ms", "errors", "device"]
    assert frame["bought"].dtype == np.int64
    assert str(frame["at"].dtype) == "datetime64[ns, UTC]"
    assert frame["lcp_ms"].tolist() == good_sessions()["lcp_ms"].tolist()
    assert frame["user"].nunique() == 60
    assert not set(frame["user"]) & set(good_sessions()["user"])


def test_the_same_file_gives_the_same_snapshot(workshop: Workshop) -> None:
    data, spec = workshop.data(good_sessions()), workshop.spec()
    assert workshop.result(data, spec).snapshot_id == workshop.result(data, spec).snapshot_id
    key = workshop.home / "pseudonym.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_csv_and_parquet_give_the_same_snapshot(workshop: Workshop) -> None:
    table = good_sessions()
    typed = table.assign(at=pd.to_datetime(table["at"]), device=table["device"].astype("category"))
    typed.to_parquet(workshop.folder / "sessions.parquet")
    (workshop.folder / "sessions.csv.gz").write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    spec = workshop.spec()
    ids = {
        workshop.result(path, spec).snapshot_id
        for path in (workshop.data(table), workshop.folder / "sessions.csv.gz", workshop.folder / "sessions.parquet")
    }
    assert len(ids) == 1


def test_bad_rows_go_to_quarantine_with_every_reason(workshop: Workshop) -> None:
    table = with_cells("lcp_ms", {1: "slow", 2: -5, 3: "inf"})
    table.loc[3, "device"] = "fridge"
    table.loc[4, "bought"] = None
    table.loc[5, "session"] = "s0"
    table.loc[6, "errors"] = None
    table.loc[7, "at"] = "2026-11-01 00:07"
    lines = table.to_csv(index=False).splitlines()
    lines[9] = "s8,user-8,too,many,fields,in,this,line"
    result = workshop.result(workshop.text("\n".join(lines) + "\n"), workshop.spec())
    assert (result.read, result.rows, result.rejected) == (ROWS, ROWS - 8, 8)
    quarantine = pd.read_csv(result.quarantine, dtype=str)
    assert list(quarantine) == ["row", "reasons", *table.columns]
    reasons = dict(zip(quarantine["row"].astype(int), quarantine["reasons"], strict=True))
    assert reasons == {
        3: "lcp_ms: 'slow' is not a number",
        4: "lcp_ms: -5 is below the minimum 0",
        5: "lcp_ms: inf is infinite; device: 'fridge' is not one of mobile, desktop",
        6: "bought: is missing",
        7: "session: 's0' is the id of an earlier row",
        8: "errors: is missing",
        9: "at: '2026-11-01 00:07' has no time zone",
        10: "has 8 fields where the header has 7",
    }
    assert quarantine["lcp_ms"].tolist()[:3] == ["slow", "-5", "inf"]
    assert sum(finding.rows for finding in result.findings if finding.severity == "error") == 9


def test_quarantine_shows_no_personal_data(workshop: Workshop) -> None:
    said: dict[int, Cell] = {3: "write to ann@example.org", 4: "+49 170 1234567", 5: "d'arcy.o'neill@example.org"}
    table = with_cells("errors", said)
    table["mail"] = [f"person{number}@example.org" for number in range(ROWS)]
    table["phone"] = "x"
    lines = table.to_csv(index=False).splitlines()
    lines[9] = "s8,user-8,ben@example.org"
    result = workshop.result(workshop.text("\n".join(lines)), workshop.spec())
    assert result.rejected == 4
    written = Path(result.quarantine).read_text() + json.dumps([finding.message for finding in result.findings])
    for secret in ("ann@", "1234567", "person1", "user-", "ben@", "neill@"):
        assert secret not in written
    assert {finding.column for finding in result.findings if finding.check == "personal"} == {"", "mail", "phone"}


def test_an_error_shows_no_personal_data(workshop: Workshop) -> None:
    mails = [f"person{number}@example.org" for number in range(ROWS)]
    for role in ({"role": "kpi", "direction": "lower", "layer": "backend"},
                 {"role": "attribute", "kind": "numeric", "personal": True}):  # fmt: skip
        code, _, err = workshop.run(workshop.data(good_sessions().assign(mail=mails)), workshop.spec(mail=role))
        assert code == 2
        assert "is not a number" in err
        assert "person0" not in err


def test_a_stopped_run_leaves_the_quarantine(workshop: Workshop) -> None:
    table = with_cells("lcp_ms", dict.fromkeys(range(40), "slow"))
    code, _, err = workshop.run(workshop.data(table), workshop.spec())
    assert code == 2
    (path,) = (workshop.home / "quarantine").glob("sessions-*.csv")
    assert str(path) in " ".join(err.split()).replace(" ", "") or str(path) in err
    assert len(pd.read_csv(path)) == 40
    assert not (workshop.home / "snapshots").exists()


def test_a_file_of_the_same_name_elsewhere_has_a_quarantine_of_its_own(workshop: Workshop) -> None:
    first = workshop.result(workshop.data(with_cells("lcp_ms", {0: "slow"})), workshop.spec())
    (workshop.folder / "elsewhere").mkdir()
    other = workshop.folder / "elsewhere" / "sessions.csv"
    with_cells("lcp_ms", {1: "slow"}).to_csv(other, index=False)
    second = workshop.result(other, workshop.spec())
    again = workshop.result(workshop.data(with_cells("lcp_ms", {2: "slow"})), workshop.spec())
    assert (pd.read_csv(second.quarantine)["row"].tolist(), again.quarantine) == ([3], first.quarantine)
    assert pd.read_csv(first.quarantine)["row"].tolist() == [4]


def test_lines_are_counted_as_an_editor_does(workshop: Workshop) -> None:
    table = with_cells("device", {2: "fridge"}).assign(note='two\nlines, "quoted"')
    result = workshop.result(workshop.data(table), workshop.spec())
    assert pd.read_csv(result.quarantine)["row"].tolist() == [6]
    plain = with_cells("device", {2: "fridge"}).to_csv(index=False).replace("\n", "\n\n", 2)
    result = workshop.result(workshop.text(plain), workshop.spec())
    assert pd.read_csv(result.quarantine)["row"].tolist() == [6]


def test_the_table_for_people_names_what_matters(workshop: Workshop) -> None:
    code, out, _ = workshop.run(workshop.data(with_cells("device", {2: "fridge"})), workshop.spec())
    assert code == 0
    for fragment in ("shop", "399", "1 rejected", "device", "'fridge'", "line 4", "user"):
        assert fragment in out
