"""`trimtab pipeline`: compile the training pipeline, and run it here or on a cluster."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from trimtab.cli import console, pipeline_runs, pipeline_train_job
from trimtab.errors import BadInput
from trimtab.ports import Launcher, PipelineRun

Pipeline = Annotated[str, typer.Option("--pipeline", help="A compiled file, or the name of a shipped pipeline.")]
Argument = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="An argument of the pipeline; may be given again."),
]
Data = Annotated[str, typer.Option("--data", help="CSV or Parquet file of sessions.")]
Spec = Annotated[str, typer.Option("--spec", help="Dataset spec: a YAML file or a shipped name.")]
Key = Annotated[str, typer.Option("--run-key", help="Names the run; the same key never runs twice. Default: derived.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Compile the training pipeline, and run it here or on Kubeflow.", no_args_is_help=True)
    group.command(
        "compile",
        epilog=console.example(
            "trimtab pipeline compile --accelerator gaudi --node-selector pool=gaudi "
            "--toleration habana.ai/gaudi:NoSchedule --workers 4 --out training.yaml"
        ),
    )(compile_)
    group.command(
        "run", epilog=console.example("trimtab pipeline run --data sessions.csv --spec spec.yaml --set trials=4")
    )(run)
    group.command(
        "submit",
        epilog=console.example(
            "trimtab pipeline submit --profile cluster --data /var/lib/trimtab/sessions.parquet "
            "--spec ux_sessions --wait"
        ),
    )(submit)
    group.command(
        "schedule",
        epilog=console.example(
            "trimtab pipeline schedule --profile cluster --name nightly --cron '0 3 * * *' "
            "--data /var/lib/trimtab/sessions.parquet --spec ux_sessions"
        ),
    )(schedule)
    pipeline_runs.add(group)
    pipeline_train_job.add(group)
    app.add_typer(group, name="pipeline", epilog=console.EXIT_CODES)


def compile_(
    *,
    out: Annotated[Path, typer.Option("--out", help="The YAML file to write.")],
    name: Annotated[str, typer.Option("--name", help="The pipeline.")] = "training",
    workers: Annotated[int, typer.Option("--workers", help="Tuning workers that share one study.")] = 2,
    accelerator: Annotated[
        str, typer.Option("--accelerator", help="Card of each tuning worker: none, nvidia or gaudi.")
    ] = "none",
    resource: Annotated[
        str, typer.Option("--resource", help="Extended resource of the card, where it is another than usual.")
    ] = "",
    node_selector: Annotated[
        list[str] | None, typer.Option("--node-selector", metavar="KEY=VALUE", help="Nodes of the tuning workers.")
    ] = None,
    toleration: Annotated[
        list[str] | None,
        typer.Option("--toleration", metavar="KEY[=VALUE]:EFFECT", help="Taints that tuning workers put up with."),
    ] = None,
    retries: Annotated[
        int, typer.Option("--retries", help="How often a tuning worker that was lost is started again.")
    ] = 0,
    cpu: Annotated[str, typer.Option("--cpu", help="CPUs that every task asks for: 2, 500m.")] = "",
    memory: Annotated[str, typer.Option("--memory", help="Memory that every task asks for and may use: 4Gi.")] = "",
    image: Annotated[str, typer.Option("--image", help="Image of every task.")] = "",
    worker_image: Annotated[str, typer.Option("--worker-image", help="Image of the tuning workers.")] = "",
    environment_secret: Annotated[
        str, typer.Option("--environment-secret", help="Secret with the cluster profile's variables.")
    ] = "",
    volume_claim: Annotated[str, typer.Option("--volume-claim", help="Claim of the volume that tasks share.")] = "",
    as_json: console.JsonOption = False,
) -> None:
    """Write the form that runs: on this machine, on Kubeflow, by a schedule."""
    from pipelines import compiler, options

    chosen = options.Options(
        workers=workers,
        accelerator=options.parse_accelerator(accelerator),
        resource=resource,
        retries=retries,
        cpu=cpu,
        memory=memory,
        node_selector=options.parse_node_selector(node_selector or []),
        tolerations=tuple(options.parse_toleration(text) for text in toleration or []),
        image=image or options.IMAGE,
        worker_image=worker_image,
        environment_secret=environment_secret,
        volume_claim=volume_claim,
    )
    written = compiler.compile_pipeline(name, chosen, out)
    console.emit(
        {"pipeline": name, "file": str(written)},
        as_json=as_json,
        render=lambda: console.out.print(f"[green]✓[/] {written}", highlight=False, soft_wrap=True),
    )


def run(
    *,
    data: Data,
    spec: Spec,
    pipeline: Pipeline = "training",
    arguments: Argument = None,
    run_key: Key = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Run a compiled pipeline to its end, with progress. A finished run of the same key is returned as it ended."""
    _submit(data, spec, pipeline, arguments, run_key, profile=profile, wait=True, as_json=as_json)


def submit(
    *,
    data: Data,
    spec: Spec,
    pipeline: Pipeline = "training",
    arguments: Argument = None,
    run_key: Key = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end.")] = False,
    profile: console.ProfileOption = "cluster",
    as_json: console.JsonOption = False,
) -> None:
    """Start a compiled pipeline, once per run key."""
    _submit(data, spec, pipeline, arguments, run_key, profile=profile, wait=wait, as_json=as_json)


def schedule(
    *,
    data: Data,
    spec: Spec,
    name: Annotated[str, typer.Option("--name", help="Name of the schedule; an older one of it is replaced.")],
    cron: Annotated[str, typer.Option("--cron", help="Five fields, or six with seconds first.")],
    pipeline: Pipeline = "training",
    arguments: Argument = None,
    profile: console.ProfileOption = "cluster",
    as_json: console.JsonOption = False,
) -> None:
    """Run a compiled pipeline by cron on Kubeflow."""
    filled = {"data": data, "spec": spec, **_parse(arguments)}
    made = _launcher(profile).schedule(pipeline, filled, name=name, cron=cron)
    console.emit(
        {"schedule": made, "name": name, "cron": cron},
        as_json=as_json,
        render=lambda: console.out.print(f"[green]✓[/] schedule '{name}' ({cron}): {made}", highlight=False),
    )


def _submit(
    data: str,
    spec: str,
    pipeline: str,
    arguments: list[str] | None,
    run_key: str,
    *,
    profile: str,
    wait: bool,
    as_json: bool,
) -> None:
    filled = {"data": data, "spec": spec, **_parse(arguments)}
    key = run_key or _derived_key(pipeline, filled)
    with console.progress_bars(enabled=wait and not as_json) as progress:
        made = _launcher(profile, progress).submit(pipeline, filled, run_key=key, wait=wait)
    console.emit(made, as_json=as_json, render=lambda: _render(made))


def _launcher(profile: str, progress: Any = None) -> Launcher:
    from trimtab import runtime

    return (runtime.load(profile, progress=progress) if progress else runtime.load(profile)).launcher


def _parse(arguments: list[str] | None) -> dict[str, object]:
    """`NAME=VALUE` texts; numbers, booleans and lists are read as JSON, anything else is text."""
    parsed: dict[str, object] = {}
    for argument in arguments or []:
        name, separator, value = argument.partition("=")
        if not separator or not name:
            raise BadInput(f"--set '{argument}' is not NAME=VALUE.", remedy="For example: --set trials=4.")
        try:
            parsed[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            parsed[name] = value
    return parsed


def _derived_key(pipeline: str, arguments: dict[str, object]) -> str:
    """A key that equal commands on equal data share; a changed file or compiled pipeline makes another run."""
    digest = hashlib.sha256(orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS))
    if Path(pipeline).is_file():
        digest.update(Path(pipeline).read_bytes())
    for name in ("data", "spec"):
        path = Path(str(arguments[name]))
        if path.is_file():
            facts = path.stat()
            digest.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    return f"{Path(pipeline).stem}-{digest.hexdigest()[:12]}"


def _render(made: PipelineRun) -> None:
    outputs = ", ".join(f"{name} {value}" for name, value in (made.outputs or {}).items())
    mark = "[green]✓[/]" if made.state == "SUCCEEDED" else "[yellow]…[/]"
    console.out.print(f"{mark} {made.pipeline} [bold]{made.id}[/] {made.state.lower()} {outputs}", highlight=False)
    if made.url:
        console.out.print(f"  {made.url}", highlight=False, soft_wrap=True)
