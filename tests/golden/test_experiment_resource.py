"""The definition of ModelExperiment, written from the rollout plan. `make golden` writes it anew."""

import os
from pathlib import Path

import yaml

from trimtab.rollout.resource_schema import definition

FILE = Path(__file__).parents[2] / "charts/trimtab-crds/crds-source/modelexperiments.yaml"
UPDATE = bool(os.environ.get("TRIMTAB_UPDATE_GOLDEN"))


class _Plain(yaml.SafeDumper):
    """Writes equal parts in full instead of as aliases, which Helm's parser takes but nobody reads."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def test_the_chart_has_the_definition_that_the_code_reads() -> None:
    text = "# Written from trimtab/rollout by `make golden`; do not edit.\n" + yaml.dump(
        definition(), Dumper=_Plain, sort_keys=False, width=120
    )
    if UPDATE:
        FILE.write_text(text, encoding="utf-8")
    assert text == FILE.read_text(encoding="utf-8"), "`make golden` writes it anew"
