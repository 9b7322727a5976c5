"""Print what is true about simulated sessions: `python whats_true.py FOLDER`."""

import sys
from pathlib import Path

from pydantic import TypeAdapter

from trimtab.sessions.simulator import Truth


def main(folder: str) -> None:
    truth = TypeAdapter(Truth).validate_json((Path(folder) / "truth.json").read_bytes())
    policy = truth.policy
    print(f"{truth.rows:,} sessions, {truth.conversion_rate:.2%} convert, best possible AUC {truth.bayes_auc:.4f}")
    print(f"lighter page for nobody {policy.none:.2%}, for all {policy.all:.2%}, for the right {policy.oracle:.2%}")
    print("improved by 5%, conversion changes by percentage points:   direct    total")
    levers = [effect for effect in truth.effects if effect.controllable]
    for effect in sorted(levers, key=lambda effect: -effect.total["5%"])[:12]:
        print(f"  {effect.kpi:<54} {100 * effect.direct['5%']:+8.3f} {100 * effect.total['5%']:+8.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
