"""Serves champion and challenger side by side, each user pinned to an arm, and logs what was shown and what came of it.

Nothing about the result is scripted. The app acts where the answer says so; and the user converts by what that action
does to them: in a simulated world by its true probabilities, on logged sessions by replay. Users of a simulated world
come through the router, which assigns them and logs exposures and outcomes. Logged sessions cannot: only those count in
which the version decided what was done at random, which nobody knows before the answer; they are sent to the arms in
batches. Where no action is known the servers are exercised all the same, but the outcome cannot depend on the version,
and the result says so.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from trimtab.errors import NotFound, TrimtabError
from trimtab.experiments.assignment import Arm, Experiment, assign
from trimtab.models.split import split_rows
from trimtab.ports import Ports
from trimtab.rollout.replay import ASSUMPTIONS
from trimtab.rollout.traffic import Happened, Traffic, logged_traffic, world_traffic
from trimtab.sessions.privacy import load_key
from trimtab.sessions.simulator import World
from trimtab.sessions.spec import DatasetSpec
from trimtab.steps.routed import CONVERSION, VALUE, reports, routed, through
from trimtab.types import Endpoint, Event, ModelVersion

STAGE = "experiment"
ARMS = ("control", "treatment")

_STREAM = 11  # keeps this step's randomness apart from other uses of the seed
_SAME_PROBABILITY = 1e-5  # a float sums differently in a batch of another size

Mode = Literal["world", "replay", "no_action", "skipped"]
Texts = npt.NDArray[np.object_]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Config:
    """Which versions meet which users.

    Attributes:
        snapshot_id: Snapshot of the sessions: their spec, and the sessions that are replayed where there is no world.
        model: Name of the registered model.
        world: Folder of a simulated world; empty to replay logged sessions.
        users: Most users to serve.
        seed: Seed of visits and outcomes.
        control: Alias or number of the version in use.
        treatment: Alias or number of the version that wants its place.
        batch: Instances a request.
        connections: Requests under way at once.
        repeats: Users who come twice, to see that they keep their arm and their answer.
    """

    snapshot_id: str
    model: str
    world: str = ""
    users: int = 30_000
    seed: int = 7
    control: str = "champion"
    treatment: str = "challenger"
    batch: int = 64
    connections: int = 4
    repeats: int = 500


@dataclass(frozen=True, slots=True)
class ArmTraffic:
    """What one arm was asked and did.

    Attributes:
        arm: Name of the arm.
        version: Version that it served.
        served: Users whose visit it answered.
        users: Users that count: all of them in a world, those that replay keeps on logged sessions.
        acted_share: Share of its answers that told the app to act.
        history_share: Share of its answers that knew the user's history.
        conversions: Users that count and converted; 0 where outcomes cannot depend on the version.
        value: What they brought in, in the unit of the spec's value column.
        requests: Requests sent.
        latency_p50_ms: Median time of a request as the client saw it.
        latency_p99_ms: 99th percentile of the same.
    """

    arm: str
    version: int
    served: int
    users: int
    acted_share: float
    history_share: float
    conversions: int
    value: float
    requests: int
    latency_p50_ms: float
    latency_p99_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """What happened.

    Attributes:
        experiment: Name of the experiment in the event log; empty where it was skipped.
        mode: Where outcomes came from: a simulated `world`, `replay` of logged sessions, or nowhere (`no_action`).
        reason: Why the result cannot be judged; empty where it can.
        arms: One entry per arm, control first.
        exposures: Exposures logged.
        outcomes: Outcomes logged.
        requests: Requests sent.
        repeat_users: Users who came twice.
        repeat_same_answer: How many of them met the same arm and got the same answer.
        assumptions: What the result rests on.
        seconds: Duration.
    """

    experiment: str
    mode: Mode
    reason: str = ""
    arms: tuple[ArmTraffic, ...] = ()
    exposures: int = 0
    outcomes: int = 0
    requests: int = 0
    repeat_users: int = 0
    repeat_same_answer: int = 0
    assumptions: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Answers:
    """Answers to visits, shape [visits] each, and how long each arm's requests took, in ms."""

    probability: npt.NDArray[np.float64]
    act: npt.NDArray[np.bool_]
    with_history: npt.NDArray[np.bool_]
    latency_ms: dict[str, list[float]]

    @classmethod
    def empty(cls, visits: int) -> "_Answers":
        """Room for the answers to some visits."""
        flags = np.zeros(visits, dtype=bool)
        return cls(np.full(visits, np.nan), flags, flags.copy(), {arm: [] for arm in ARMS})


def run(config: Config, ports: Ports) -> Result:
    """Serve both versions and log exposures and outcomes.

    Running it again with the same configuration logs the same events under the same ids, which readers count once.

    Args:
        config: The configuration.
        ports: The ports.

    Returns:
        What happened; of mode `skipped`, with the reason, where users or two versions are lacking.

    Raises:
        Unavailable: A server did not start or did not answer.
        NotFound: The control version, the snapshot or the world does not exist.
    """
    started = time.perf_counter()
    sessions, spec = ports.snapshots.read(config.snapshot_id)
    if spec.unit is None:
        return _skipped(f"spec '{spec.name}' has no unit column, so there are no users to divide.")
    control = ports.registry.resolve(config.model, config.control)
    try:
        treatment = ports.registry.resolve(config.model, config.treatment)
    except NotFound as error:
        return _skipped(f"there is no version to compare with: {error.message}")
    if treatment.version == control.version:
        return _skipped(f"'{config.control}' and '{config.treatment}' are the same version, {control.version}.")
    traffic = _traffic(config, ports, sessions, spec)
    return _serve(config, ports, traffic, (control, treatment), started=started)


def split_in_two(name: str) -> Experiment:
    """The experiment of this step: control and treatment, half of the users each."""
    return Experiment(name=name, arms=tuple(Arm(arm, 0.5) for arm in ARMS), control=ARMS[0])


def _traffic(config: Config, ports: Ports, sessions: pd.DataFrame, spec: DatasetSpec) -> Traffic:
    rng = np.random.default_rng([config.seed, _STREAM])
    if config.world:
        return world_traffic(
            World.load(Path(config.world)), spec, users=config.users, key=load_key(ports.home), rng=rng
        )
    with_history = ports.snapshots.folder(config.snapshot_id) / "training.parquet"
    frame = pd.read_parquet(with_history) if with_history.is_file() else sessions
    # The same split as training's, so that no version has seen these sessions.
    held_out = split_rows(frame, spec, rng=np.random.default_rng(config.seed)).test
    return logged_traffic(frame.iloc[held_out], spec, users=config.users, rng=rng)


def _serve(
    config: Config,
    ports: Ports,
    traffic: Traffic,
    versions: tuple[ModelVersion, ModelVersion],
    *,
    started: float,
) -> Result:
    experiment = split_in_two(_name(config, *versions))
    arms = assign(traffic.units, experiment)
    again = np.arange(min(config.repeats, len(arms)))
    arms_again = assign(traffic.units[again], experiment)
    with _deployed(ports, versions) as endpoints:
        if traffic.mode == "world":
            first, second, happened, logged = _visit(
                ports, traffic, arms, again, endpoints=endpoints, experiment=experiment
            )
        else:
            first = _ask(config, ports, traffic.instances, arms, endpoints, note="users")
            second = _ask(config, ports, traffic.instances.iloc[again], arms_again, endpoints, note="returning users")
            happened = traffic.outcomes(first.act)
            logged = _log(ports, traffic, happened, (arms, arms_again), name=experiment.name, versions=versions)
    same = (arms_again == arms[again]) & (second.act == first.act[again])
    same &= np.isclose(second.probability, first.probability[again], atol=_SAME_PROBABILITY)
    return Result(
        experiment=experiment.name,
        mode=traffic.mode,
        reason=traffic.reason,
        arms=tuple(
            _arm_traffic(version, arm, arms == arm, first, happened)
            for arm, version in zip(ARMS, versions, strict=True)
        ),
        exposures=logged[0],
        outcomes=logged[1],
        requests=sum(map(len, (*first.latency_ms.values(), *second.latency_ms.values()))),
        repeat_users=len(again),
        repeat_same_answer=int(same.sum()),
        assumptions=ASSUMPTIONS if traffic.mode == "replay" else (),
        seconds=time.perf_counter() - started,
    )


@contextmanager
def _deployed(ports: Ports, versions: tuple[ModelVersion, ModelVersion]) -> Iterator[dict[str, Endpoint]]:
    """Both arms' servers, started at the same time and gone afterwards, whatever happens between."""
    ports.progress(STAGE, 0, 100, "starting two model servers")
    try:
        with ThreadPoolExecutor(len(ARMS)) as pool:
            starting = [
                pool.submit(ports.deployer.deploy, version, arm=arm)
                for arm, version in zip(ARMS, versions, strict=True)
            ]
        yield {arm: start.result() for arm, start in zip(ARMS, starting, strict=True)}
    finally:
        for arm, version in zip(ARMS, versions, strict=True):
            ports.deployer.remove(arm, model=version.name)


def _ask(
    config: Config, ports: Ports, instances: pd.DataFrame, arms: Texts, endpoints: dict[str, Endpoint], *, note: str
) -> _Answers:
    """Send each visit to its arm, in batches, a few requests at once."""
    batches = [
        (arm, rows[start : start + config.batch])
        for arm in ARMS
        for rows in (np.flatnonzero(arms == arm),)
        for start in range(0, len(rows), config.batch)
    ]
    batches.sort(key=lambda batch: batch[1][0])  # The arms are served side by side, as users come.
    answers = _Answers.empty(len(arms))

    def ask(batch: tuple[str, Rows]) -> tuple[str, Rows, pd.DataFrame, float]:
        arm, rows = batch
        sent = time.perf_counter()
        answer = ports.predictor.predict(endpoints[arm], instances.iloc[rows])
        return arm, rows, answer, (time.perf_counter() - sent) * 1e3

    with ThreadPoolExecutor(config.connections) as pool:
        for done, (arm, rows, answer, latency_ms) in enumerate(pool.map(ask, batches), start=1):
            answers.probability[rows] = answer["probability"]
            answers.act[rows] = answer["act"]
            answers.with_history[rows] = answer["history"] != "absent"
            answers.latency_ms[arm].append(latency_ms)
            ports.progress(STAGE, done, len(batches), f"{note}, {config.batch} a request")
    return answers


def _visit(
    ports: Ports, traffic: Traffic, arms: Texts, again: Rows, *, endpoints: dict[str, Endpoint], experiment: Experiment
) -> tuple[_Answers, _Answers, Happened, tuple[int, int]]:
    """Each user through the router, some of them twice, and what came of the first visit; how much was logged."""
    with routed(ports, traffic, endpoints, experiment) as url:
        first = _through(ports, url, traffic, arms, np.arange(len(arms)), experiment=experiment)
        happened = traffic.outcomes(first.act)
        reported = ports.app.report(url, reports(traffic, happened))
        second = _through(ports, url, traffic, arms, again, experiment=experiment)
    return first, second, happened, (len(arms) + len(again), reported)


def _through(ports: Ports, url: str, traffic: Traffic, arms: Texts, rows: Rows, *, experiment: Experiment) -> _Answers:
    """Answers to some users through the router.

    Raises:
        TrimtabError: The router assigned a user otherwise than the analysis will.
    """
    answers = _Answers.empty(len(rows))
    done = 0
    for found in through(ports, url, experiment.name, traffic, rows):
        place = slice(done, done + len(found.arm))
        if (found.arm != arms[rows[place]]).any():
            raise TrimtabError(f"the router of '{experiment.name}' assigned a user otherwise than the analysis does.")
        answers.probability[place] = found.probability
        answers.act[place] = found.act
        answers.with_history[place] = found.history != "absent"
        for arm in ARMS:
            answers.latency_ms[arm].extend(found.latency_ms[found.arm == arm].tolist())
        done = place.stop
        ports.progress(STAGE, done, len(rows), "users through the router")
    return answers


def _log(
    ports: Ports, traffic: Traffic, happened: Happened, arms: tuple[Texts, Texts], *, name: str,
    versions: tuple[ModelVersion, ModelVersion],
) -> tuple[int, int]:  # fmt: skip
    """Log the replayed sessions that count, and what came of them; how many exposures and outcomes."""
    first, again = arms
    returned = happened.counted & (np.arange(len(first)) < len(again))
    exposures = [
        *_exposures(name, traffic, first, happened.counted, versions),
        *_exposures(name, traffic, np.append(again, first[len(again) :]), returned, versions, visit=2),
    ]
    outcomes = _outcomes(name, traffic, happened)
    ports.events.append(exposures)
    ports.events.append(outcomes)
    return len(exposures), len(outcomes)


def _exposures(
    experiment: str,
    traffic: Traffic,
    arms: Texts,
    counted: npt.NDArray[np.bool_],
    versions: tuple[ModelVersion, ModelVersion],
    *,
    visit: int = 1,
) -> list[Event]:
    version_of = {arm: str(version.version) for arm, version in zip(ARMS, versions, strict=True)}
    return [
        Event(
            id=f"{experiment}:exposure:{traffic.units[row]}:{visit}",
            kind="exposure",
            experiment=experiment,
            unit=traffic.units[row],
            time=traffic.times[row] + timedelta(seconds=visit - 1),
            arm=arms[row],
            version=version_of[arms[row]],
            segments=traffic.segments[row],
        )
        for row in np.flatnonzero(counted)
    ]


def _outcomes(experiment: str, traffic: Traffic, happened: Happened) -> list[Event]:
    """One conversion per converted visit, and its value where it brought in something."""
    amounts = {CONVERSION: happened.converted.astype(float), VALUE: happened.value}
    return [
        Event(
            id=f"{experiment}:{metric}:{traffic.units[row]}",
            kind="outcome",
            experiment=experiment,
            unit=traffic.units[row],
            time=traffic.times[row] + timedelta(seconds=2),
            metric=metric,
            value=float(values[row]),
        )
        for metric, values in amounts.items()
        for row in np.flatnonzero(values)
    ]


def _arm_traffic(
    version: ModelVersion, arm: str, here: npt.NDArray[np.bool_], answers: _Answers, happened: Happened
) -> ArmTraffic:
    latency = np.array(answers.latency_ms[arm]) if answers.latency_ms[arm] else np.zeros(1)
    served = int(here.sum())
    return ArmTraffic(
        arm=arm,
        version=version.version,
        served=served,
        users=int((here & happened.counted).sum()),
        acted_share=float(answers.act[here].mean()) if served else 0.0,
        history_share=float(answers.with_history[here].mean()) if served else 0.0,
        conversions=int((here & happened.converted).sum()),
        value=float(happened.value[here].sum()),
        requests=len(answers.latency_ms[arm]),
        latency_p50_ms=float(np.percentile(latency, 50)),
        latency_p99_ms=float(np.percentile(latency, 99)),
    )


def _name(config: Config, control: ModelVersion, treatment: ModelVersion) -> str:
    """A name after all that the events depend on, so that a rerun logs the same ids and no other run does."""
    parts = (config.snapshot_id, config.world, config.users, config.seed, config.repeats, control.uri, treatment.uri)
    digest = sha256("|".join(map(str, parts)).encode()).hexdigest()[:8]
    return f"{config.model}-v{control.version}-v{treatment.version}-{digest}"


def _skipped(reason: str) -> Result:
    return Result(experiment="", mode="skipped", reason=reason)
