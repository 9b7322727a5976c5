"""A router in this process with real sockets to its arms: what tests of it need."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httptools
import numpy as np
import orjson

from serving.router.admin import Admin
from serving.router.app import Message, RouterApp
from serving.router.breaker import BreakerPolicy
from serving.router.guard import Guard, Scope
from serving.router.http import Headers
from serving.router.predict import Predictions
from serving.router.shadow import Shadow
from serving.router.table import RouteTable
from trimtab.adapters.routes import FileRoutes
from trimtab.rollout.route import Route, RoutePhase, Target
from trimtab.types import Event

KEY = b"a key of sixteen bytes"
PATIENCE_MS = 20_000.0  # the machine may stall for seconds; tests of timeouts have their own
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
V1 = "/v1/models/shop:predict"
V2 = "/v2/models/shop/infer"


@dataclass
class Arm:
    """An arm's server, whose behaviour can change at any time.

    Attributes:
        version: What its answers say.
        status: Status of its answers.
        body: In place of a right answer, where given.
        seconds: How long it thinks.
        close_after: Ends the connection after an answer without having said so.
        asked: Bodies that it was sent.
        heard: Headers that came with them.
    """

    version: int
    status: int = 200
    body: bytes | None = None
    seconds: float = 0.0
    close_after: bool = False
    asked: list[bytes] = field(default_factory=list)
    heard: list[dict[bytes, bytes]] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    _server: asyncio.Server | None = None
    _open: list[asyncio.Transport] = field(default_factory=list)

    async def start(self, port: int = 0) -> None:
        """Listen; on the port that it had where it is started again."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Conversation(self), "127.0.0.1", port or self.port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def port(self) -> int:
        """Port that it listens on; 0 before it first did."""
        return int(self.url.rpartition(":")[2]) if self.url else 0

    async def stop(self) -> None:
        """Die: no connection survives."""
        if self._server:
            self._server.close()
        for transport in self._open:
            transport.abort()
        await asyncio.sleep(0.02)

    def answer(self, body: bytes) -> bytes:
        """A right answer to a v1 or v2 body, that names the instances it is about."""
        if self.body is not None:
            return self.body
        document = orjson.loads(body)
        if "inputs" in document:
            outputs = [
                {"name": "probability", "datatype": "FP64", "shape": [1], "data": [0.1 * self.version]},
                {"name": "uplift", "datatype": "FP64", "shape": [1], "data": [0.05]},
                {"name": "act", "datatype": "BOOL", "shape": [1], "data": [True]},
            ]
            return orjson.dumps({"model_name": "m", "outputs": outputs})
        predictions = [
            {"probability": 0.1 * self.version, "uplift": 0.05, "act": True, "version": self.version, "of": row}
            for row in document["instances"]
        ]
        return orjson.dumps({"predictions": predictions})


class _Conversation(asyncio.Protocol):
    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._headers: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._arm._open.append(transport)
        self._arm.connections += 1

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._arm.asked.append(self._body)
        self._arm.heard.append(self._headers)
        body, self._body, self._headers = self._body, b"", {}
        asyncio.get_running_loop().call_later(self._arm.seconds, self._reply, body)

    def _reply(self, body: bytes) -> None:
        if self._transport.is_closing():
            return
        answer = self._arm.answer(body)
        head = f"HTTP/1.1 {self._arm.status} x\r\ncontent-type: application/json\r\nx-of-arm: yes\r\n"
        self._transport.write(f"{head}content-length: {len(answer)}\r\n\r\n".encode() + answer)
        if self._arm.close_after:
            self._transport.close()


@dataclass(frozen=True)
class Heard:
    """A reply as the caller reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return orjson.loads(self.body)


class Memory:
    """An event writer that keeps what it was given.

    Attributes:
        events: What it keeps.
        room: How many events it has room for.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.room = 1_000_000

    def put(self, event: Event) -> bool:
        """Keep it, if there is room."""
        if len(self.events) >= self.room:
            return False
        self.events.append(event)
        return True

    def close(self) -> None:
        """Nothing is left to do."""


class World:
    """A router, its arms `control` (version 1) and `treatment` (version 2), and what it logged.

    Args:
        folder: For the routes.
        tokens: Of the guard.
        max_body_bytes: Of the router.
        policy: Of the breakers.
    """

    def __init__(
        self,
        folder: Path,
        *,
        tokens: Mapping[Scope, str] | None = None,
        max_body_bytes: int = 1 << 20,
        policy: BreakerPolicy | None = None,
    ) -> None:
        self.control, self.treatment = Arm(1), Arm(2)
        self.routes = FileRoutes(folder / "routes")
        self.memory = Memory()
        self.table = RouteTable(self.routes, policy=policy)
        self.shadow = Shadow(events=self.memory, rng=np.random.default_rng(1), queue=4)
        self.predictions = Predictions(key=KEY, events=self.memory, shadow=self.shadow, unit_header="x-trimtab-unit")
        self.app = RouterApp(
            table=self.table,
            predictions=self.predictions,
            admin=Admin(self.routes, self.table, self.predictions),
            events=self.memory,
            guard=Guard(tokens or {}),
            max_body_bytes=max_body_bytes,
        )

    def route(self, **changes: Any) -> Route:
        """A route that runs the experiment `e` with equal weights, with changes."""
        told: dict[str, Any] = {
            "model": "shop",
            "control": "control",
            "arms": {
                "control": Target(self.control.url, "m", 1),
                "treatment": Target(self.treatment.url, "m", 2),
            },
            "experiment": "e",
            "phases": (RoutePhase(BEGAN, {"control": 0.5, "treatment": 0.5}),),
            "unit_field": "user_id",
            "attributes": ("device",),
            "timeout_ms": PATIENCE_MS,
        }
        return Route(**{**told, **changes})

    def publish(self, **changes: Any) -> None:
        """Make a route the model's, and take it up."""
        self.routes.publish(self.route(**changes))
        self.table.refresh()

    async def ask(
        self, path: str, body: object = b"", *, method: str = "POST", unit: str = "", **headers: str
    ) -> Heard:
        """A request; an object is sent as JSON, and underscores in names of headers are dashes."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        sent: Headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if unit:
            sent.append((b"x-trimtab-unit", unit.encode()))
        place, _, query = path.partition("?")
        scope: Message = {
            "type": "http",
            "method": method,
            "path": place,
            "raw_path": place.encode(),
            "query_string": query.encode(),
            "headers": sent,
        }
        pieces = [content[start : start + 65_536] for start in range(0, len(content), 65_536)] or [b""]
        messages = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, start=1)
        ]
        replies: list[Message] = []

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            replies.append(message)

        await self.app(scope, receive, send)
        names = {name.decode(): value.decode() for name, value in replies[0]["headers"]}
        return Heard(replies[0]["status"], names, replies[1]["body"])

    def unit_of(self, arm: str) -> str:
        """A unit that belongs to an arm."""
        assigner = self.table.models["shop"].assigner_at(datetime.now(UTC))
        assert assigner is not None
        names = (f"user {number}" for number in range(1_000))
        return next(name for name in names if assigner.arm(self.predictions.pseudonym(name), {}) == arm)


def play(folder: Path, scene: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Start the arms, play a scene, and stop everything.

    Args:
        folder: For the routes.
        scene: What happens; the usual route is published.
        options: Of the world.
    """

    async def everything() -> None:
        world = World(folder, **options)
        await world.control.start()
        await world.treatment.start()
        world.publish()
        world.shadow.start()
        try:
            await scene(world)
        finally:
            await world.shadow.close()
            world.table.close()
            await world.control.stop()
            await world.treatment.stop()

    asyncio.run(everything())
