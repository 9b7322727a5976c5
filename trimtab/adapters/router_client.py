"""A shop's app as the router sees it: visits ask for an answer, and what came of them is reported as CloudEvents."""

import asyncio
import time
from collections.abc import Sequence
from math import nan
from typing import Any
from uuid import uuid4

import aiohttp
import numpy as np
import orjson
import pandas as pd

from trimtab.adapters.inference import records
from trimtab.errors import BadInput, TrimtabError, Unavailable
from trimtab.ports import OutcomeReport, Visits

OUTCOME = "dev.trimtab.outcome"
_SOURCE = "urn:trimtab:simulated-app"
_BATCH = 1_000
_NO_EXPERIMENT = 409  # what the router answers to outcomes while none runs; a rollout may end under its users
_JSON = {"content-type": "application/json"}
_EVENTS = {"content-type": "application/cloudevents-batch+json"}


class HttpRouterClient:
    """Satisfies `trimtab.ports.RouterClient`.

    Args:
        token: Bearer token of the router's outcomes; empty where it asks for none.
        connections: Requests under way at once.
        timeout_seconds: How long one may take.
    """

    def __init__(self, *, token: str = "", connections: int = 16, timeout_seconds: float = 30.0) -> None:
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=5.0)

    def visit(self, url: str, model: str, units: Sequence[str], instances: pd.DataFrame) -> Visits:
        """Ask for an answer to each visit, in a request of its own.

        Args:
            url: The router.
            model: The model's name at the router.
            units: Unit of each visit, shape [visits].
            instances: What the app knows about each visit, one row each.

        Raises:
            BadInput: The router refuses a request.
            Unavailable: The router cannot be reached, or could not answer.
        """
        rows = records(instances)
        place = f"{url}/v1/models/{model}:predict"
        answers = self._run(url, lambda session: self._all(session, place, units, rows))
        columns = list(zip(*answers, strict=True)) or [()] * 8
        arm, version, fallback, act, probability, uplift, history, seconds = columns
        return Visits(
            arm=np.array(arm, dtype=object),
            version=np.array(version, dtype=object),
            fallback=np.array(fallback, dtype=object),
            act=np.array(act, dtype=bool),
            probability=np.array(probability, dtype=np.float64),
            uplift=np.array(uplift, dtype=np.float64),
            history=np.array(history, dtype=object),
            latency_ms=np.array(seconds, dtype=np.float64) * 1e3,
        )

    def report(self, url: str, outcomes: Sequence[OutcomeReport]) -> int:
        """Tell the router what happened; returns how many outcomes it took, none of them where no experiment runs.

        Raises:
            BadInput: The router refuses them, or the token.
            Unavailable: The router cannot be reached.
        """
        batches = [outcomes[start : start + _BATCH] for start in range(0, len(outcomes), _BATCH)]

        async def send(session: aiohttp.ClientSession) -> int:
            taken = 0
            for batch in batches:
                body = orjson.dumps([_cloud_event(outcome) for outcome in batch])
                async with session.post(f"{url}/outcomes", data=body, headers={**_EVENTS, **self._headers}) as answer:
                    if answer.status != _NO_EXPERIMENT:
                        taken += int((await _json(answer))["accepted"])
            return taken

        return int(self._run(url, send)) if batches else 0

    async def _all(
        self, session: aiohttp.ClientSession, place: str, units: Sequence[str], rows: Sequence[dict[str, object]]
    ) -> list[tuple[Any, ...]]:
        places = asyncio.Semaphore(self._connections)

        async def one(unit: str, row: dict[str, object]) -> tuple[Any, ...]:
            async with places:
                sent = time.perf_counter()
                body = orjson.dumps({"instances": [row]})
                async with session.post(place, data=body, headers={**_JSON, "x-trimtab-unit": unit}) as answer:
                    said = (await _json(answer))["predictions"][0]
                    heard = answer.headers
                return (
                    heard.get("x-trimtab-arm", ""),
                    heard.get("x-trimtab-version", ""),
                    heard.get("x-trimtab-fallback", ""),
                    said["act"],
                    said.get("probability", nan),
                    said.get("uplift", 0.0),
                    said.get("history", "absent"),
                    time.perf_counter() - sent,
                )

        return await asyncio.gather(*(one(unit, row) for unit, row in zip(units, rows, strict=True)))

    def _run(self, url: str, work: Any) -> Any:
        async def inside() -> Any:
            connector = aiohttp.TCPConnector(limit=self._connections)
            async with aiohttp.ClientSession(connector=connector, timeout=self._timeout) as session:
                return await work(session)

        try:
            return asyncio.run(inside())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the router at {url} did not answer: {type(error).__name__}: {error}") from error


async def _json(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The body of a good answer, or the router's reason as an error."""
    body = await answer.read()
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise TrimtabError(f"the router answered {answer.status} with something that is not JSON.") from error
    if answer.status < 400:
        return dict(said)
    reason = f"the router answered {answer.status}: {said.get('error', said)}"
    raise BadInput(reason) if answer.status < 500 else Unavailable(reason)


def _cloud_event(outcome: OutcomeReport) -> dict[str, object]:
    """An outcome in CloudEvents 1.0, structured."""
    return {
        "specversion": "1.0",
        "id": outcome.id or uuid4().hex,
        "source": _SOURCE,
        "type": OUTCOME,
        "time": outcome.time.isoformat(),
        "data": {"unit": outcome.unit, "metric": outcome.metric, "value": outcome.value},
    }
