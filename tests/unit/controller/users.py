"""Users of an experiment that a controller looks after."""

import time
from datetime import UTC, datetime

import numpy as np

from trimtab.experiments.assignment import assign
from trimtab.rollout.plan import CONTROL, TREATMENT
from trimtab.testing.ports import StepPorts
from trimtab.types import Event


def come(ports: StepPorts, seen: int, users: int, *, control: float = 0.10, treatment: float = 0.25) -> None:
    """Users who meet the route in force, and what comes of it."""
    route, now = ports.routes.get("shop"), datetime.now(UTC)
    assert route is not None
    experiment = route.experiment_at(now)
    if experiment is None:  # it has ended
        return
    rng, rates = np.random.default_rng(seen), {CONTROL: control, TREATMENT: treatment}
    units = [f"u{seen + number}" for number in range(users)]
    events = []
    for unit, arm in zip(units, assign(units, experiment), strict=True):
        if arm:
            version = str(route.arms[arm].version)
            events.append(Event(f"x-{unit}", "exposure", experiment.name, unit, now, arm=arm, version=version))
            if rng.random() < rates[arm]:
                events.append(Event(f"o-{unit}", "outcome", experiment.name, unit, now, metric="conversion", value=1.0))
    ports.events.append(events)
    time.sleep(1.01)  # their window closes
