"""The examples and the guide say what happens; here it happens."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from trimtab.sessions.load import read_table
from trimtab.sessions.spec import DatasetSpec, load_spec, shipped_specs
from trimtab.sessions.validation import require_usable, validate

ROOT = Path(__file__).parents[2]
CHURN = ROOT / "examples" / "churn"
KEY = b"a key of sixteen bytes"


@pytest.mark.parametrize("name", ["churn", "online_shoppers"])
def test_an_example_has_the_shipped_spec(name: str) -> None:
    assert (ROOT / "examples" / name / "spec.yaml").resolve() == shipped_specs()[name].resolve()


def test_the_customers_are_what_the_generator_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = tmp_path / "customers.csv"
    monkeypatch.setattr(sys, "argv", ["generate.py", "--out", str(again)])
    runpy.run_path(str(CHURN / "generate.py"), run_name="__main__")
    assert again.read_bytes() == (CHURN / "customers.csv").read_bytes()


def test_the_customers_are_judged_as_the_example_says() -> None:
    spec = load_spec(str(CHURN / "spec.yaml"))
    validated = validate(read_table(CHURN / "customers.csv", spec.format), spec, key=KEY)
    require_usable(validated, source="customers.csv")
    assert (len(validated.frame), validated.rejected) == (3_988, 12)
    assert "exit_form_answers" not in validated.spec.inputs
    assert not validated.frame.astype(str).apply(lambda column: column.str.contains("@")).any(axis=None)


def test_the_form_filled_in_after_the_decision_is_found() -> None:
    text = (CHURN / "spec.yaml").read_text().replace("controllable: false, known_at: session_end, ", "")
    spec = DatasetSpec.model_validate(yaml.safe_load(text))
    validated = validate(read_table(CHURN / "customers.csv", spec.format), spec, key=KEY)
    assert [finding.column for finding in validated.findings if finding.check == "copy"] == ["exit_form_answers"]


def test_the_spec_in_the_guide_is_valid() -> None:
    guide = (ROOT / "docs" / "bring-your-own-data.md").read_text()
    written = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]
    spec = DatasetSpec.model_validate({key: value for block in written for key, value in block.items()})
    assert spec.quality == DatasetSpec.model_fields["quality"].default
    roles = {column.role for column in spec.columns.values()}
    assert roles == set(re.findall(r"^\| `(\w+)` \|", guide.split("## What validation does")[0], re.MULTILINE))
