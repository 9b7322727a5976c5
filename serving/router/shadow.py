"""Copies of requests for an arm that answers nobody: its answers are only logged.

A bounded queue keeps the copies; a full one drops further copies and counts them. Users never wait for any of it.
"""

import asyncio
import time
from datetime import UTC, datetime
from math import nan

import numpy as np

from serving.router import metrics
from serving.router.arms import ArmServer, Question, answer_probability
from serving.router.table import ModelRoute
from serving.router.upstream import ArmFailed
from trimtab.ports import EventWriter
from trimtab.types import Event

QUEUE = 256  # copies that may wait, for all models together
AT_ONCE = 8  # copies under way


class Shadow:
    """Sends copies of requests to shadow arms.

    Args:
        events: Where their answers are logged.
        rng: Decides which requests are copied.
        queue: Copies that may wait.
    """

    def __init__(self, *, events: EventWriter, rng: np.random.Generator, queue: int = QUEUE) -> None:
        self._events = events
        self._rng = rng
        self._waiting: asyncio.Queue[tuple[ModelRoute, ArmServer, Question, str, str]] = asyncio.Queue(queue)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send; needs a running loop."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]

    async def close(self) -> None:
        """Give up what waits."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def offer(self, model: ModelRoute, question: Question, *, unit: str, request: str) -> None:
        """Copy a request where its turn comes and there is room.

        Args:
            model: Its route, which has a shadow arm.
            question: What was asked.
            unit: Pseudonym, or the request's id where it names no unit.
            request: Id of the request.
        """
        arm = model.shadow
        if arm is None or self._rng.random() >= model.route.shadow_share:
            return
        try:
            self._waiting.put_nowait((model, arm, question, unit, request))
        except asyncio.QueueFull:
            metrics.count(metrics.SHADOWS, model.model, "dropped")

    async def _work(self) -> None:
        while True:
            await self._send(*await self._waiting.get())

    async def _send(self, model: ModelRoute, arm: ArmServer, question: Question, unit: str, request: str) -> None:
        now, started = datetime.now(UTC), time.perf_counter()
        failure, probability = "", nan
        try:
            served = await arm.ask(question)
            if served.answer.status < 300:
                probability = answer_probability(question.protocol, served, 0)
            else:
                failure = "error"  # control took the same request
        except ArmFailed as failed:
            failure = failed.failure
            arm.log_failure(failed)
        metrics.count(metrics.SHADOWS, model.model, "failed" if failure else "answered")
        self._events.put(
            Event(
                id=f"{request}.shadow",
                kind="shadow",
                experiment=model.route.experiment or model.model,
                unit=unit,
                time=now,
                arm=arm.name,
                version=arm.version,
                fallback=failure,
                latency_ms=(time.perf_counter() - started) * 1e3,
                probability=probability,
            )
        )
