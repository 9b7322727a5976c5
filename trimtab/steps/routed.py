"""Simulated users who come through the router, as an app would send them, and report what came of their visits."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.experiments.assignment import Experiment
from trimtab.ports import OutcomeReport, Ports, Visits
from trimtab.rollout.route import Route, RoutePhase, Target
from trimtab.rollout.traffic import Happened, Traffic
from trimtab.types import Endpoint

CONVERSION = "conversion"
VALUE = "value"
_BATCH = 500  # Visits between two reports of progress.
_PATIENCE_MS = 10_000.0  # Of the router with an arm: this machine also plays the users.

Rows = npt.NDArray[np.int64]


@contextmanager
def routed(ports: Ports, traffic: Traffic, endpoints: Mapping[str, Endpoint], experiment: Experiment) -> Iterator[str]:
    """A router that knows an experiment, under its name; once the block ends, all that it logged is in the log.

    Args:
        ports: Uses `routes` and `router`.
        traffic: The visits, whose segments are logged.
        endpoints: Where each arm is served.
        experiment: The experiment.

    Yields:
        The router's URL.

    Raises:
        Unavailable: The router does not start.
    """
    phase = RoutePhase(datetime.now(UTC), dict(zip(experiment.arm_names, experiment.weights, strict=True)))
    route = Route(
        model=experiment.name,
        control=experiment.control,
        arms={arm: Target(found.url, found.model, found.version) for arm, found in endpoints.items()},
        experiment=experiment.name,
        phases=(phase,),
        attributes=tuple(traffic.segments[0]) if traffic.segments else (),
        timeout_ms=_PATIENCE_MS,
    )
    ports.routes.publish(route)
    try:
        yield ports.router.open()
    finally:
        ports.router.close()
        ports.routes.remove(route.model)


def through(ports: Ports, url: str, model: str, traffic: Traffic, rows: Rows) -> Iterator[Visits]:
    """Answers to some visits, in order, some hundreds at a time.

    Args:
        ports: Uses `app`.
        url: The router.
        model: The model's name at the router.
        traffic: The visits.
        rows: Which of them.

    Raises:
        BadInput: The router refuses a request.
        Unavailable: It does not answer.
    """
    instances = asked(traffic)
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        yield ports.app.visit(url, model, [traffic.units[row] for row in part], instances.iloc[part])


def asked(traffic: Traffic) -> pd.DataFrame:
    """What an app sends: the model's inputs, and the attributes by which results are split and units take part."""
    segments = pd.DataFrame(list(traffic.segments))
    return traffic.instances.assign(**{str(column): segments[column] for column in segments})


def reports(traffic: Traffic, happened: Happened, rows: Rows | None = None) -> list[OutcomeReport]:
    """A conversion for each visit that converted, and its value where it brought in something.

    Args:
        traffic: The visits.
        happened: What came of them.
        rows: Which of them; all where absent.
    """
    now = datetime.now(UTC)
    some = np.arange(len(traffic.units)) if rows is None else rows
    return [
        OutcomeReport(traffic.units[row], metric, float(amounts[row]), now, id=f"{metric}-{traffic.units[row]}")
        for metric, amounts in ((CONVERSION, happened.converted), (VALUE, happened.value))
        for row in some
        if amounts[row]
    ]
