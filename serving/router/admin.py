"""Routes and assignments for people and controllers: look, publish, remove."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

import orjson

from serving.router.assignments import assignment
from serving.router.body import LONGEST_TEXT, unit_text
from serving.router.http import Refused, Reply, reply_json
from serving.router.predict import Predictions
from serving.router.table import RouteTable
from serving.router.upstream import Upstream
from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.ports import Routes
from trimtab.rollout.route import dump_route, parse_route

T = TypeVar("T")


class Admin:
    """Answers `/admin/routes` and `/assignments`.

    Args:
        routes: Where routes are published.
        table: Routes in use.
        predictions: Knows the pseudonyms.
    """

    def __init__(self, routes: Routes, table: RouteTable, predictions: Predictions) -> None:
        self._routes = routes
        self._table = table
        self._predictions = predictions
        self._changing = asyncio.Lock()

    def list_routes(self) -> Reply:
        """Every route in use, and why a newer document is not."""
        routes: dict[str, Any] = {
            name: orjson.loads(dump_route(model.route)) for name, model in self._table.models.items()
        }
        return reply_json({"routes": routes, "problems": self._table.problems})

    async def publish(self, model: str, body: bytes) -> Reply:
        """Make a document the model's route.

        Args:
            model: The model's name.
            body: The document.

        Raises:
            BadInput: It is wrong, or another model's.
            Refused: It is not newer than the route in use, with 409.
            Unavailable: Routes cannot be written here.
        """
        route = parse_route(body, where="the body")
        if route.model != model:
            raise BadInput(f"the body is the route of model '{route.model}', not of '{model}'.")
        for target in route.arms.values():
            Upstream(target.url)
        async with self._changing:
            self._table.refresh()  # another worker may have published since the last look
            current = self._table.models.get(model)
            if current is not None and route.revision <= current.route.revision:
                raise Refused(
                    409,
                    f"revision {route.revision} is not newer than revision {current.route.revision}, which is in use.",
                    remedy="Read the route again and count its revision up.",
                )
            await _written(self._routes.publish, route)
            self._table.refresh()
        return reply_json({"model": model, "revision": route.revision})

    async def remove(self, model: str) -> Reply:
        """Stop routing a model.

        Args:
            model: The model's name.

        Raises:
            NotFound: It has no route.
            Unavailable: Routes cannot be written here.
        """
        async with self._changing:
            if model not in self._table.models and model not in self._table.problems:
                raise NotFound(f"model '{model}' has no route.")
            await _written(self._routes.remove, model)
            self._table.refresh()
        return reply_json({"model": model})

    def assignment(self, raw_path: bytes, query: bytes) -> Reply:
        """Where a unit stands: `/assignments/MODEL/UNIT?ATTRIBUTE=VALUE`.

        Args:
            raw_path: The path, still percent-encoded.
            query: The query string.

        Raises:
            BadInput: The unit id or an attribute cannot be read.
            NotFound: The model has no route.
        """
        parts = [unquote(part) for part in raw_path.decode("ascii").split("/")[2:]]
        unit = unit_text(parts[1]) if len(parts) == 2 else None
        if unit is None:
            raise NotFound("that is no assignment.", remedy="Ask for /assignments/MODEL/UNIT.")
        model = self._table.models.get(parts[0])
        if model is None:
            raise NotFound(f"model '{parts[0]}' has no route.")
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict")
        except (ValueError, UnicodeDecodeError) as error:
            raise BadInput("the query string cannot be read.") from error
        attributes = {name: value.strip()[:LONGEST_TEXT] for name, value in pairs}
        found = assignment(model, self._predictions.pseudonym(unit), attributes, now=datetime.now(UTC))
        return reply_json(asdict(found))


async def _written(change: Callable[[T], None], argument: T) -> None:
    """Change what is published, off the event loop: a file is synced."""
    try:
        await asyncio.to_thread(change, argument)
    except OSError as error:
        raise Unavailable(
            f"the route cannot be written: {error.strerror}.", remedy="Change it where the routes come from."
        ) from error
