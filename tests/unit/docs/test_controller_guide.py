"""The guide to the controller: its resource is valid, its tables are complete, its options exist."""

import re
from pathlib import Path

import yaml

from trimtab.controller import __main__ as process
from trimtab.controller import reconcile
from trimtab.rollout.resource import ServingResources, camel_word, read_resource
from trimtab.testing.crd_schemas import crd_problems

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "controller.md").read_text(encoding="utf-8")


def test_the_resource_of_the_guide_is_valid() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    body = yaml.safe_load(block)
    assert crd_problems(body, ROOT / "charts/trimtab-crds/crds-source") == []
    assert read_resource(body).plan.planned_units == 80_000


def test_every_reason_that_the_controller_gives_is_explained() -> None:
    table = GUIDE.split("| reason of `Ready` |")[1].split("\n\n")[0]
    explained = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[1:] if line)))
    source = Path(reconcile.__file__).read_text(encoding="utf-8")
    given = set(re.findall(r'_Refused\(\s*"(\w+)"', source)) | set(re.findall(r'return "(\w+)"', source))
    given |= set(re.findall(r'"Ready",\s*"\w+",\s*"(\w+)"', source))
    assert given - {"Suspended", "Converged"} == explained


def test_every_override_of_the_serving_resources_is_named() -> None:
    (row,) = [line for line in GUIDE.splitlines() if line.startswith("| `serving`")]
    assert {camel_word(name) for name in ServingResources.model_fields} == set(re.findall(r"`(\w+)`", row)) - {
        "serving"
    }


def test_the_options_of_the_guide_are_the_process_s() -> None:
    (usage,) = re.findall(r"^python -m trimtab\.controller(.*?)```", GUIDE, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"--[a-z-]+", usage))
    known = {option for action in process._parser()._actions for option in action.option_strings if option[:2] == "--"}
    assert named == known - {"--help"}
