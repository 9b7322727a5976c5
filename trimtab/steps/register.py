"""Record a trained model, make it a version, and let the quality gate decide whether it may stand for promotion.

Everything about the version is uploaded first; an alias, which is what makes it eligible, is set last. Run again after
a kill, the step finds the version that the same run made from the same bundle and only finishes what is missing.
"""

import hashlib
import re
import tempfile
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import orjson
import pandas as pd
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput, NotFound
from trimtab.models.evaluate import Evaluation
from trimtab.models.gate import Gate, Limits, judge
from trimtab.ports import Ports, TrackedRun
from trimtab.report import charts
from trimtab.sessions.inputs import model_inputs
from trimtab.sessions.spec import DatasetSpec, load_spec
from trimtab.types import Alias, Interval, ModelVersion

STAGE = "register"
WITH_HISTORY = "training.parquet"  # What the features step adds to a snapshot.
EVALUATION = "evaluation.json"
EXAMPLE_ROWS = 200
_TAG_LENGTH = 2000
CHAMPION: Alias = "champion"
CHALLENGER: Alias = "challenger"


@dataclass(frozen=True, slots=True)
class Config:
    """What to register.

    Attributes:
        snapshot_id: The snapshot that the model was trained on.
        bundle: Folder that the train step left.
        seed: Seed that it was trained with.
        run: Id of the run.
        limits: Where the quality gate draws its lines.
    """

    snapshot_id: str
    bundle: str
    seed: int
    run: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Result:
    """What was registered.

    Attributes:
        model: Name of the registered model.
        version: Its version.
        gate: The quality gate's answer.
        aliases: Aliases of the version.
        uri: Where its bundle lies.
        tracker_run: The tracker's id of the run that recorded it.
    """

    model: str
    version: int
    gate: Gate
    aliases: tuple[str, ...]
    uri: str
    tracker_run: str


@dataclass(frozen=True)
class Trained:
    """What this step reads of the train step's result."""

    evaluation: Evaluation
    params: dict[str, float | int | str]
    notes: dict[str, str]
    temperature: float
    fit_seconds: float


def run(config: Config, ports: Ports) -> Result:
    """Record, register, judge; then point an alias at a version that passed.

    The first version that passes becomes `champion`, a later one `challenger`. One that fails keeps its place in the
    registry, without an alias and with the reasons as tags.

    Raises:
        NotFound: The snapshot or the bundle does not exist.
        BadInput: The bundle has no evaluation.
        Unavailable: The tracking server does not answer.
    """
    bundle = Path(config.bundle)
    trained = _trained(bundle)
    gate = judge(trained.evaluation, config.limits)
    frame, dataset = _example(config.snapshot_id, ports)
    spec = dataset.name
    digest = _digest(bundle)
    ports.progress(STAGE, 0, 3, "recording the run")
    version = _made_before(spec, config.run, digest, ports)
    if version is None:
        with ports.tracker.run(f"{config.run}-{trained.evaluation.model}", experiment=spec) as tracked:
            _record(tracked, trained, gate, config, ports)
            ports.progress(STAGE, 1, 3, "uploading")
            version = ports.registry.register(
                spec,
                bundle,
                run_id=tracked.id,
                example=frame,
                tags=_tags(trained, gate, config, digest=digest, tracker_run=tracked.id),
                metrics={name: interval.estimate for name, interval in trained.evaluation.metrics.items()},
            )
    ports.progress(STAGE, 2, 3, "setting the alias")
    if (ports.snapshots.folder(config.snapshot_id) / WITH_HISTORY).is_file() and model_inputs(dataset).history:
        ports.features.add_service(dataset, version.version)  # Whoever serves the version may ask for it from now on.
    if gate.passed:
        _stand(version, ports)
    version = ports.registry.resolve(spec, str(version.version))
    ports.progress(STAGE, 3, 3)
    return Result(
        version.name, version.version, gate, version.aliases, version.uri, version.tags.get("tracker_run", "")
    )


def _trained(bundle: Path) -> Trained:
    path = bundle / EVALUATION
    if not path.is_file():
        raise NotFound(f"model bundle '{bundle}' has no {EVALUATION}.", remedy="Run the train step first.")
    try:
        return TypeAdapter(Trained).validate_python(orjson.loads(path.read_bytes()))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise BadInput(f"'{path}' is not an evaluation: {error}.", remedy="Run the train step again.") from error


def _example(snapshot_id: str, ports: Ports) -> tuple[pd.DataFrame, DatasetSpec]:
    """A few rows of model input, and the spec. The first row is that of a unit never seen, without history."""
    folder = ports.snapshots.folder(snapshot_id)
    spec = load_spec(str(folder / "spec.yaml"))
    path = folder / WITH_HISTORY
    rows = pq.ParquetFile(path if path.is_file() else folder / "sessions.parquet")
    inputs = model_inputs(spec)
    batch = next(rows.iter_batches(batch_size=EXAMPLE_ROWS, columns=[*inputs.request, *inputs.history]))
    example = batch.to_pandas()
    numeric = [name for name in inputs.numeric if name in example.columns]
    example = example.astype(dict.fromkeys(numeric, "float64"))
    example.loc[0, list(inputs.history)] = float("nan")
    return example, spec


def _made_before(name: str, run: str, digest: str, ports: Ports) -> ModelVersion | None:
    """The version that an earlier attempt of this run made from this very bundle."""
    for version in ports.registry.versions(name):
        if version.tags.get("run") == run and version.tags.get("bundle_sha256") == digest:
            return version
    return None


def _record(tracked: TrackedRun, trained: Trained, gate: Gate, config: Config, ports: Ports) -> None:
    """Parameters, metrics with their intervals, data, code, seed and figures of the training."""
    snapshot = ports.snapshots.get(config.snapshot_id)
    tracked.params(
        {
            **trained.params,
            "kind": trained.evaluation.model,
            "seed": config.seed,
            "snapshot_id": snapshot.id,
            "rows": snapshot.rows,
            "threshold": trained.evaluation.threshold,
            "temperature": trained.temperature,
        }
    )
    tracked.tags(
        {
            "run": config.run,
            "snapshot_id": snapshot.id,
            "data_source": snapshot.source,
            "seed": str(config.seed),
            "gate": "passed" if gate.passed else "failed",
            **{f"version.{name}": value for name, value in trained.notes.items()},
        }
    )
    tracked.metrics({"fit_seconds": trained.fit_seconds, **_flat(trained.evaluation)})
    with tempfile.TemporaryDirectory() as folder:
        for name, content in _files(trained, gate).items():
            path = Path(folder) / name
            path.write_bytes(content)
            tracked.artifact(path)


def _flat(evaluation: Evaluation) -> dict[str, float]:
    """Bounds of the model's metrics, and the metrics of baselines and segments, under one name each.

    The model's own estimates are recorded with the version.
    """
    found: dict[str, float] = {}
    for metric, interval in evaluation.metrics.items():
        found |= {f"{metric}.low": interval.low, f"{metric}.high": interval.high}
    for name, metrics in evaluation.baselines.items():
        found |= _estimates(f"baseline.{name}", metrics)
    for segment in evaluation.segments:
        found |= _estimates(f"segment.{segment.attribute}.{segment.value or 'missing'}", segment.metrics)
    return {re.sub(r"[^\w./ -]", "_", name): value for name, value in found.items()}


def _estimates(prefix: str, metrics: dict[str, Interval]) -> dict[str, float]:
    return {f"{prefix}.{metric}": interval.estimate for metric, interval in metrics.items()}


def _files(trained: Trained, gate: Gate) -> dict[str, bytes]:
    """The gate's answer, and the figures on a page."""
    figures = [charts.roc(trained.evaluation), charts.reliability(trained.evaluation.reliability)]
    style = resources.files("trimtab.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    title = f"{trained.evaluation.model} on held-out sessions"
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"<main><h1>{title}</h1>{''.join(f'<figure>{figure}</figure>' for figure in figures)}</main></html>"
    )
    return {"gate.json": orjson.dumps(gate, option=orjson.OPT_INDENT_2), "figures.html": page.encode()}


def _tags(trained: Trained, gate: Gate, config: Config, *, digest: str, tracker_run: str) -> dict[str, str]:
    return {
        "run": config.run,
        "kind": trained.evaluation.model,
        "snapshot_id": config.snapshot_id,
        "seed": str(config.seed),
        "bundle_sha256": digest,
        "tracker_run": tracker_run,
        "code": trained.notes.get("code", ""),
        "gate": "passed" if gate.passed else "failed",
        "gate_reasons": " ".join(gate.reasons)[:_TAG_LENGTH],
    }


def _stand(version: ModelVersion, ports: Ports) -> None:
    """Make the version champion where there is none, else challenger; nothing where it is one of them already."""
    current = ports.registry.resolve(version.name, str(version.version)).aliases
    if CHAMPION in current or CHALLENGER in current:
        return
    try:
        ports.registry.resolve(version.name, CHAMPION)
    except NotFound:
        ports.registry.set_alias(version.name, CHAMPION, version.version)
    else:
        ports.registry.set_alias(version.name, CHALLENGER, version.version)


def _digest(bundle: Path) -> str:
    """Digest of the model itself; its evaluation holds durations, which differ between equal models."""
    digest = hashlib.sha256()
    for path in sorted(bundle.rglob("*")):
        if path.is_file() and path.name != EVALUATION:
            digest.update(path.relative_to(bundle).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
