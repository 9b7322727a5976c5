"""Whatever a file holds: it is refused as bad input, or every row is accepted or in quarantine."""

import csv
import io
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab.sessions.load import read_table
from trimtab.sessions.spec import DatasetSpec
from trimtab.sessions.validation import validate

SPEC = DatasetSpec.model_validate(
    {
        "name": "shop",
        "columns": {
            "id": {"role": "id"},
            "user": {"role": "unit"},
            "bought": {"role": "label"},
            "lcp": {"role": "kpi", "direction": "lower", "layer": "frontend", "minimum": 0},
            "device": {"role": "attribute"},
        },
    }
)
CELLS = st.one_of(
    st.sampled_from(["", "1", "0", "-1", "inf", "1e400", "NaN", "a@b.example", "007", " 3 ", "1,5", "\u0661"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
)
# Labels are binary here, or the file would be refused; lines may be too short or too long.
WHOLE = st.tuples(CELLS, st.sampled_from(["u", "v", ""]), st.sampled_from(["0", "1", ""]), CELLS, CELLS).map(list)
BROKEN = st.lists(CELLS, min_size=2, max_size=8).filter(lambda cells: len(cells) != len(SPEC.columns))
# More of them than of bad ones, or a column would be refused as a whole.
GOOD = [[f"good{number}", "u", str(number % 2), f"{number}.5", f"phone {number % 3}"] for number in range(14)]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(WHOLE | BROKEN, max_size=12))
def test_every_row_is_accepted_or_in_quarantine(bad: list[list[str]]) -> None:
    rows = [*GOOD[:7], *bad, *GOOD[7:]]
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([list(SPEC.columns), *rows])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
        validated = validate(read_table(path), SPEC, key=b"a key of sixteen bytes")
    assert validated.read == len(rows)
    assert len(validated.frame) + validated.rejected == len(rows)
    assert validated.quarantine["reasons"].ne("").all()
    assert validated.quarantine["row"].is_monotonic_increasing
    assert not validated.frame["user"].isin(["u", "v"]).any()
    assert validated.frame["id"].is_unique
    assert len(validated.frame) >= len(GOOD)
