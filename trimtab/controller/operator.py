"""One controller as a process: its ports, its loop, and how both end."""

import asyncio
import threading
from collections.abc import Callable

import kopf

from trimtab.controller.health import Pulse
from trimtab.ports import Ports
from trimtab.rollout.resource import ServingResources
from trimtab.runtime import Runtime

_BEAT_SECONDS = 5.0


class RolloutPorts:
    """Ports of each rollout, made once, because opening a registry or an event log takes a while.

    Args:
        runtime: The ports that all have in common.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lock = threading.Lock()
        self._made: dict[str, tuple[ServingResources, Runtime]] = {}

    def __call__(self, name: str, serving: ServingResources) -> Ports:
        """The ports of a rollout.

        Args:
            name: Its name.
            serving: Resources that its arms have of their own.

        Raises:
            BadInput: The resources do not go with the profile's.
        """
        with self._lock:
            made = self._made.get(name)
            if made is None or made[0] != serving:
                made = self._made[name] = (serving, self._runtime.of_rollout(name, serving=serving.overrides))
            return made[1]

    def forget(self, name: str) -> None:
        """Let go of the ports of a rollout.

        Args:
            name: Its name.
        """
        with self._lock:
            self._made.pop(name, None)


def operate(registry: kopf.OperatorRegistry, *, namespace: str, stop: threading.Event, pulse: Pulse) -> None:
    """Look after the resources of a namespace until told to stop.

    Args:
        registry: The handlers.
        namespace: The namespace.
        stop: Set to stop it; running handlers end first.
        pulse: Hears that the loop goes round.
    """
    asyncio.run(_operate(registry, namespace, stop, pulse.beat))


async def _operate(
    registry: kopf.OperatorRegistry, namespace: str, stop: threading.Event, beat: Callable[[], None]
) -> None:
    beating = asyncio.create_task(_beat(beat))
    try:
        await kopf.operator(registry=registry, namespaces=[namespace], standalone=True, stop_flag=stop)
    finally:
        beating.cancel()
        stop.set()  # a thread waits for it


async def _beat(beat: Callable[[], None]) -> None:
    while True:
        beat()
        await asyncio.sleep(_BEAT_SECONDS)
