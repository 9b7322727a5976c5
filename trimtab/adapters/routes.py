"""Routes as files in a folder that routers watch: one JSON document per model, each replaced whole."""

import contextlib
import os
import re
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from trimtab.rollout.route import Route, dump_route, parse_route

SUFFIX = ".json"
HEARING = timedelta(seconds=5)  # Routers look twice a second; the rest is for a busy one.
# A file's name that is also a key of a ConfigMap; names of models that are none are written in hexadecimal.
_PLAIN, _HEX = re.compile(r"(?!hex\.)(?!\.\.)[A-Za-z0-9._-]{1,200}"), "hex."


def file_name(model: str) -> str:
    """Name of a model's document, unique over all names.

    >>> file_name("shop"), file_name("a/b")
    ('shop.json', 'hex.612f62.json')
    """
    stem = model if _PLAIN.fullmatch(model) else _HEX + model.encode().hex()
    return stem + SUFFIX


def model_of(name: str) -> str:
    """The model that a document of this name is of.

    >>> model_of("hex.612f62.json")
    'a/b'
    """
    stem = name.removesuffix(SUFFIX)
    if stem.startswith(_HEX):
        with contextlib.suppress(ValueError):
            return bytes.fromhex(stem.removeprefix(_HEX)).decode()
    return stem


class FileRoutes:
    """Satisfies `trimtab.ports.Routes`.

    Args:
        folder: Where the documents lie; created on first use. In a pod, the mount of a ConfigMap.
        hearing: How long routers take to hear of a document, at most.
    """

    def __init__(self, folder: Path, *, hearing: timedelta = HEARING) -> None:
        self._folder = folder
        self.hearing = hearing

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
                found[model_of(path.name)] = f"{state.st_mtime_ns}-{state.st_ino}-{state.st_size}"
        return found

    def remove(self, model: str) -> None:
        """Delete the model's document."""
        self._path(model).unlink(missing_ok=True)

    def _path(self, model: str) -> Path:
        return self._folder / file_name(model)
