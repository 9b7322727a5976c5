"""Routes in a ConfigMap that routers mount: one key per model, which each pod then sees as a file.

A ConfigMap reaches a pod within the kubelet's period and the lifetime of its cache, two minutes at most.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta

from trimtab.adapters.kubernetes import Body, Kind, Objects
from trimtab.adapters.routes import SUFFIX, file_name, model_of
from trimtab.errors import BadInput
from trimtab.rollout.route import Route, dump_route, parse_route

CONFIG_MAPS = Kind("", "v1", "configmaps", "Kubernetes")
_MOST_BYTES = 1_000_000  # The API takes 1 MiB with everything.


class KubernetesRoutes:
    """Satisfies `trimtab.ports.Routes`.

    Args:
        objects: The namespace's ConfigMaps.
        name: Which of them.
        hearing: How long routers take to hear of a key, at most.
    """

    def __init__(self, objects: Objects, *, name: str, hearing: timedelta) -> None:
        self._objects = objects
        self._name = name
        self.hearing = hearing

    def publish(self, route: Route) -> None:
        """Write the model's key; other models' keys stay as they are.

        Raises:
            BadInput: The ConfigMap would be larger than the API takes.
            Unavailable: The API does not answer.
        """
        key, document = file_name(route.model), dump_route(route).decode()
        self._change(lambda data: {**data, key: document})

    def get(self, model: str) -> Route | None:
        """The model's route; None where it has none.

        Raises:
            BadInput: The document cannot be read.
            Unavailable: The API does not answer.
        """
        document = self._data().get(file_name(model))
        if document is None:
            return None
        return parse_route(document.encode(), where=f"key '{file_name(model)}' of ConfigMap '{self._name}'")

    def versions(self) -> dict[str, str]:
        """Fingerprint of each model's document."""
        return {
            model_of(key): hashlib.sha256(document.encode()).hexdigest()
            for key, document in self._data().items()
            if key.endswith(SUFFIX)
        }

    def remove(self, model: str) -> None:
        """Delete the model's key; nothing happens where there is none."""
        if self._objects.get(self._name) is not None:
            self._change(lambda data: {key: value for key, value in data.items() if key != file_name(model)})

    def _data(self) -> dict[str, str]:
        return _data_of(self._objects.get(self._name))

    def _change(self, change: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
        def changed(found: Body | None) -> Body:
            data = change(_data_of(found))
            size = sum(len(key) + len(value.encode()) for key, value in data.items())
            if size > _MOST_BYTES:
                raise BadInput(
                    f"ConfigMap '{self._name}' cannot hold the routes of {len(data)} models: {size:,} bytes.",
                    remedy="Give some of the models a release of their own.",
                )
            if found is None:
                return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self._name}, "data": data}
            return {**found, "data": data}

        self._objects.apply(self._name, changed)


def _data_of(found: Body | None) -> dict[str, str]:
    return dict((found or {}).get("data") or {})
