"""How many users a version meets before it is taken back, and how often rollouts end as they should.

    python -m benchmarks.rollout [RUNS]

Simulated rollouts of versions whose truth is known, through the looks and decisions of the real thing. The plan is the
one of docs/rollout.md: 40,000 planned units at 10% conversion, which find a lift of 10% with a power of 90% at one
look; ramp of 5, 25 and 50%; a look after every 2,000 units; 20,000 units a day; a window of 24 hours. Compared with
one look at the planned end: until then half of all users meet the version, whatever it does.
"""

import json
import sys

import numpy as np

from trimtab.rollout.plan import TREATMENT, RolloutPlan, build_plan
from trimtab.rollout.simulation import MetricTruth, SimulationSummary, Truth, simulate_rollouts, summarise

RUNS = 200
WORLDS: dict[str, tuple[float, float]] = {  # Lift of conversion and value, and failing requests of the treatment.
    "equal": (0.0, 0.0),
    "better by 10%": (0.10, 0.0),
    "worse by 5%": (-0.05, 0.0),
    "worse by 10%": (-0.10, 0.0),
    "worse by 20%": (-0.20, 0.0),
    "worse by 40%": (-0.40, 0.0),
    "5% of requests fail": (0.0, 0.05),
}


def example() -> RolloutPlan:
    """The plan."""
    return build_plan(
        {
            "name": "rollout",
            "model": "conversion",
            "planned_units": 40_000,
            "window_hours": 24,
            "shadow": {"requests": 1_000},
            "ramp": [{"weight": 0.05}, {"weight": 0.25}, {"weight": 0.5}],
            "experiment": {
                "metrics": {
                    "conversion": {"kind": "binary", "column": "conversion", "role": "primary"},
                    "value": {"kind": "mean", "column": "value", "role": "guardrail", "margin": 0.1},
                }
            },
            "service": {"error_rate": {"margin": 0.01}, "latency_p99": {"margin": 0.2}},
        },
        where="the plan",
    )


def measure(world: str, runs: int) -> SimulationSummary:
    """Simulate one world.

    Args:
        world: Its name.
        runs: Number of rollouts.
    """
    lift, failures = WORLDS[world]
    plan, metrics = example(), {"conversion": MetricTruth(0.1, lift), "value": MetricTruth(5.0, lift, 15.0)}
    truth = Truth(metrics, units_per_day=20_000, failures={TREATMENT: failures})
    return summarise(plan, truth, simulate_rollouts(plan, truth, runs=runs, rng=np.random.default_rng(20261125)))


def main(runs: int = RUNS) -> list[dict[str, object]]:
    """Measure, print the table of the docs, and return what is compared."""
    print("| the treatment is | shipped | rolled back | held | users who met it: mean | median | 90% | 99% | days |")
    print("|---|---|---|---|---|---|---|---|---|")
    found = []
    for world in WORLDS:
        one = measure(world, runs)
        shares = [f"{one.ends[end].share.estimate:.1%}" for end in ("shipped", "rolled_back", "held")]
        users = [f"{value:,.0f}" for value in (one.treated, *one.treated_quantiles)]
        print(f"| {world} | {' | '.join([*shares, *users])} | {one.days:.1f} |", flush=True)
        if "worse" in world:
            found.append(
                {
                    "name": f"rollout: users who meet a version, {world}",
                    "ours": one.treated,
                    "theirs": one.fixed_horizon,
                    "theirs_is": "one look at the planned end",
                    "unit": "users",
                    "ratio": one.fixed_horizon / one.treated,
                }
            )
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS), indent=2))
