"""Routes as files in a folder that routers watch: one JSON document per model, each replaced whole."""

import contextlib
import os
from pathlib import Path
from urllib.parse import quote, unquote
from uuid import uuid4

from trimtab.rollout.route import Route, dump_route, parse_route

SUFFIX = ".json"


class FileRoutes:
    """Satisfies `trimtab.ports.Routes`.

    Args:
        folder: Where the documents lie; created on first use. In a pod, the mount of a ConfigMap.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def publish(self, route: Route) -> None:
        """Write the model's document; a reader sees the old one or the new one, whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(route.model)
        part = path.with_name(f".{path.name}.{uuid4().hex}")
        with part.open("wb") as file:
            file.write(dump_route(route))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def get(self, model: str) -> Route | None:
        """The model's route; None where it has none.

        Raises:
            BadInput: The document cannot be read.
        """
        try:
            document = self._path(model).read_bytes()
        except FileNotFoundError:
            return None
        return parse_route(document, where=f"the route in '{self._path(model)}'")

    def versions(self) -> dict[str, str]:
        """Fingerprint of each model's document, which changes with the document; nothing is read for it.

        A mounted ConfigMap replaces what its links point to, so the file behind a link is what counts.
        """
        found: dict[str, str] = {}
        for path in self._folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                state = path.stat()
                name = unquote(path.name.removesuffix(SUFFIX))
                found[name] = f"{state.st_mtime_ns}-{state.st_ino}-{state.st_size}"
        return found

    def remove(self, model: str) -> None:
        """Delete the model's document."""
        self._path(model).unlink(missing_ok=True)

    def _path(self, model: str) -> Path:
        return self._folder / f"{quote(model, safe='')}{SUFFIX}"
