import re
from pathlib import Path

import yaml

from trimtab.rollout.plan import build_plan

GUIDE = Path(__file__).parents[3] / "docs" / "rollout.md"


def test_the_plan_of_the_guide_is_valid() -> None:
    example = re.search(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    plan = build_plan(yaml.safe_load(example.group(1)), where="the guide's plan")
    assert [round(plan.enrolled_share(step), 2) for step in range(3)] == [0.1, 0.5, 1.0]
