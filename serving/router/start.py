"""From options to a router that answers: the composition of the router, and its one event loop."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvicorn
import uvloop

from serving.router.admin import Admin
from serving.router.app import MAX_BODY_BYTES, RouterApp
from serving.router.event_metrics import EventMetrics
from serving.router.guard import Guard, environment_guard
from serving.router.predict import Predictions
from serving.router.protocol import RouterProtocol
from serving.router.shadow import Shadow
from serving.router.table import RouteTable
from trimtab import runtime
from trimtab.ports import EventWriter, Routes
from trimtab.profile import load_profile
from trimtab.sessions.privacy import load_key

SHUTDOWN_SECONDS = 30  # how long requests in flight may take once the router is told to stop
# A request leaves no cycles behind, so walking what is alive every 700 objects (CPython's default) finds nothing and
# costs a sixth of the router's own work.
_COLLECT_AT = 20_000
_KEEP_ALIVE_SECONDS = 75  # longer than the idle time of common load balancers, so that they close first


@dataclass(frozen=True)
class RouterOptions:
    """What a router is started with.

    Attributes:
        profile: Profile of the state folder, the event log and the key of the pseudonyms.
        routes: Folder of the routes; the profile's where None.
        events: URI of the event log; the profile's where empty.
        spool: Folder for events that the log does not take at once; in the state folder where None.
        unit_header: Header that holds the unit id.
        max_body_bytes: Larger bodies are refused.
        drain_seconds: How long to go on serving, not ready any more, once told to stop.
        unguarded: Whether tokens may be unset although others can reach the address.
    """

    profile: str = "local"
    routes: Path | None = None
    events: str = ""
    spool: Path | None = None
    unit_header: str = "x-trimtab-unit"
    max_body_bytes: int = MAX_BODY_BYTES
    drain_seconds: float = 0.0
    unguarded: bool = False


def run(options: RouterOptions, *, listener: socket.socket) -> None:
    """Serve until told to stop; then finish what is under way and flush the events.

    Args:
        options: Of the router.
        listener: Bound socket.

    Raises:
        BadInput: The profile is wrong, or the event log's URI, or others can reach the address without a token.
    """
    guard = environment_guard(address=listener.getsockname()[0], unguarded=options.unguarded)
    profile = load_profile(options.profile)
    if options.events:
        profile = profile.model_copy(update={"events": options.events})
    ports = runtime.Runtime(profile, profile_name=options.profile)
    routes = ports.routes_in(options.routes) if options.routes else ports.routes
    events = ports.event_writer(spool=options.spool or ports.home / "spool")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(
                _serve(
                    options,
                    listener,
                    routes=routes,
                    events=events,
                    event_metrics=EventMetrics(events),
                    key=load_key(ports.home),
                    guard=guard,
                )
            )
    finally:
        events.close()


async def _serve(
    options: RouterOptions,
    listener: socket.socket,
    *,
    routes: Routes,
    events: EventWriter,
    event_metrics: EventMetrics,
    key: bytes,
    guard: Guard,
) -> None:
    table = RouteTable(routes)
    table.refresh()
    shadow = Shadow(events=events, rng=np.random.default_rng())
    predictions = Predictions(key=key, events=events, shadow=shadow, unit_header=options.unit_header)
    app = RouterApp(
        table=table,
        predictions=predictions,
        admin=Admin(routes, table, predictions),
        events=events,
        guard=guard,
        max_body_bytes=options.max_body_bytes,
    )
    server = _Server(app, drain_seconds=options.drain_seconds)
    shadow.start()
    watching = [asyncio.create_task(table.watch()), asyncio.create_task(event_metrics.watch())]
    gc.collect()
    gc.freeze()  # what is loaded by now stays; the collector need not walk it at each turn
    gc.set_threshold(_COLLECT_AT, 20, 20)
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in watching:
            task.cancel()
        await shadow.close()
        table.close()


class _Server(uvicorn.Server):
    """uvicorn, told to stop by this process's signals without being ended by them."""

    def __init__(self, app: RouterApp, *, drain_seconds: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=RouterProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self._app = app
        self._drain_seconds = drain_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again once it has stopped, which would end the process before the flush.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        if self._app.draining:
            self.should_exit = True  # told twice: no more waiting
            return
        self._app.draining = True
        asyncio.get_running_loop().call_later(self._drain_seconds, self._exit)

    def _exit(self) -> None:
        self.should_exit = True
