"""The guide to KServe names every field and every right, and its code runs."""

import re
from pathlib import Path

import yaml

from trimtab.adapters.kserve.services import KINDS
from trimtab.profile import KserveDeployer

GUIDE = (Path(__file__).parents[3] / "docs" / "kserve.md").read_text(encoding="utf-8")


def test_the_fields_of_the_profile_are_all_named() -> None:
    table = GUIDE.split("## An arm")[0]
    rows = re.findall(r"^\| (`\w+`[^|]*) \|", table, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(KserveDeployer.model_fields) - {"kind"}


def test_the_profile_of_the_guide_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert KserveDeployer.model_validate(yaml.safe_load(block)["deployer"]).namespace == "serving"


def test_every_right_that_is_used_is_named() -> None:
    rows = re.findall(r"^\| `([\w.]+)`[^|]* \| `(\w+)` \|", GUIDE.split("## Rights")[1], re.MULTILINE)
    assert set(rows) == {(kind.group, kind.plural) for kind in KINDS}


def test_code_of_the_guide_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    exec(compile(block, "docs/kserve.md", "exec"), {})
