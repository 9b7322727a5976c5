"""From a bundle folder to a server that answers: the composition of the predictor."""

import logging
import socket
from collections.abc import Callable
from pathlib import Path

from serving import process
from serving.predictor import server
from serving.predictor.history import History
from serving.predictor.model import ConversionPredictor
from trimtab import runtime
from trimtab.errors import Unavailable
from trimtab.models.bundle import ConversionModel
from trimtab.ports import Ports
from trimtab.sessions.privacy import load_key
from trimtab.sessions.spec import DatasetSpec, load_spec

_log = logging.getLogger("kserve.trimtab")

SPEC = "spec.yaml"
HISTORY_DEADLINE_SECONDS = 2.0  # for a batch, on a machine that is busy with other work


def start(
    folder: Path,
    *,
    name: str,
    version: int,
    profile: str,
    host: str,
    port: int,
    listener: socket.socket | None = None,
    with_parent: bool = False,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Serve a bundle until the process is told to stop.

    Args:
        folder: The bundle.
        name: Name in the URL.
        version: Version in the registry.
        profile: Profile whose feature store holds the history; none where empty.
        host: Address to bind.
        port: Port to bind.
        listener: Open socket to use in place of `host` and `port`.
        with_parent: End when the parent process ends.
        announce: Called once the model is loaded and the port is this process's.

    Raises:
        BadInput: The folder holds no bundle, or the profile is wrong.
        Unavailable: The port is taken.
    """
    if with_parent:
        process.exit_with_parent()
    server.quiet_logs()
    if listener is None:
        try:
            listener = process.listen(host, port)
        except OSError as error:
            raise Unavailable(f"{host}:{port} cannot be bound: {error}.", remedy="Choose another port.") from error
    predictor = build(folder, name=name, version=version, profile=profile)
    predictor.load()
    announce()
    server.serve(predictor, listener=listener)


def build(folder: Path, *, name: str, version: int, profile: str) -> ConversionPredictor:
    """Load a bundle and connect it with its history.

    Args:
        folder: The bundle.
        name: Name in the URL.
        version: Version in the registry.
        profile: As in `start`.

    Raises:
        BadInput: The folder holds no bundle, or the profile is wrong.
    """
    model = ConversionModel.load(folder)
    if not (profile and model.inputs.history):
        return ConversionPredictor(name, model=model, version=version)
    ports = runtime.load(profile)
    spec = _spec(folder, model, ports)
    if spec is None:
        return ConversionPredictor(name, model=model, version=version)
    return ConversionPredictor(
        name,
        model=model,
        version=version,
        unit=spec.unit,
        timestamp=spec.timestamp,
        key=load_key(ports.home),
        history=History(ports.features, spec, deadline_seconds=HISTORY_DEADLINE_SECONDS),
    )


def _spec(folder: Path, model: ConversionModel, ports: Ports) -> DatasetSpec | None:
    """The spec that the model was trained by: beside the bundle, or else in the snapshot that its manifest names."""
    beside = folder / SPEC
    if beside.is_file():
        return load_spec(str(beside))
    snapshot = model.manifest.notes.get("snapshot", "")
    stored = ports.snapshots.folder(snapshot) / SPEC if snapshot else beside
    if stored.is_file():
        return load_spec(str(stored))
    _log.warning("the spec of model '%s' was not found; it answers without the history of its units.", model.name)
    return None
