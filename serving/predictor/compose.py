"""Puts an engine together: the bundle, the store that holds its units' histories, and what is kept of its answers."""

import logging
from functools import partial
from pathlib import Path

import numpy as np

from serving.predictor.engine import Engine
from serving.predictor.feature_log import FeatureLog
from serving.predictor.history import History
from serving.predictor.metrics import Metrics
from serving.predictor.start import Options, Version
from serving.predictor.tracing import Tracing, tracing_to
from trimtab import runtime
from trimtab.models.lean import LeanModel
from trimtab.models.manifest import Manifest
from trimtab.ports import Ports
from trimtab.sessions.privacy import load_key
from trimtab.sessions.spec import DatasetSpec, load_spec

_log = logging.getLogger("kserve.trimtab")

SPEC = "spec.yaml"
_EMBEDDED = "sqlite:"


def compose(version: Version, options: Options) -> tuple[Engine, Tracing | None]:
    """An engine for a version, and its tracing where that is asked for.

    Raises:
        BadInput: The folder holds no bundle, the profile is wrong, or an option cannot be met.
    """
    model = LeanModel.load(version.folder)
    metrics = Metrics(version.name, version.number)
    tracing = tracing_to(options.traces, model=version.name, version=version.number)
    engine = partial(
        Engine,
        version.name,
        version=version.number,
        model=model,
        encoder=model.manifest.encoder,
        metrics=metrics,
        micro_batching=options.micro_batching,
        stale_days=options.feature_stale_days,
        feature_log=_feature_log(version, options, model.manifest, metrics),
    )
    if not (options.profile and model.manifest.encoder.inputs.history):
        return engine(), tracing
    ports = runtime.load(options.profile)
    spec = _spec(version.folder, model.manifest, ports)
    if spec is None:
        return engine(), tracing
    history = History(
        ports.features,
        spec,
        version=version.number,
        deadline_seconds=options.feature_deadline_ms / 1e3,
        metrics=metrics,
        blocking=ports.profile.online_store.startswith(_EMBEDDED),
    )
    return engine(unit=spec.unit, timestamp=spec.timestamp, key=load_key(ports.home), history=history), tracing


def _feature_log(version: Version, options: Options, manifest: Manifest, metrics: Metrics) -> FeatureLog | None:
    if not options.log_features:
        return None
    return FeatureLog(
        Path(options.log_features),
        model=version.name,
        version=version.number,
        encoder=manifest.encoder,
        share=options.log_features_share,
        rng=np.random.default_rng(),
        metrics=metrics,
    )


def _spec(folder: Path, manifest: Manifest, ports: Ports) -> DatasetSpec | None:
    """The spec that the model was trained by: beside the bundle, or else in the snapshot that its manifest names."""
    beside = folder / SPEC
    if beside.is_file():
        return load_spec(str(beside))
    snapshot = manifest.notes.get("snapshot", "")
    stored = ports.snapshots.folder(snapshot) / SPEC if snapshot else beside
    if stored.is_file():
        return load_spec(str(stored))
    _log.warning("the spec of model '%s' was not found; it answers without the history of its units.", manifest.name)
    return None
