"""`trimtab pipeline train-job`: the manifest of a fit on several cards."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from trimtab.cli import console
from trimtab.errors import BadInput


def add(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command(
        "train-job",
        epilog=console.example(
            "trimtab pipeline train-job --name nightly --snapshot s-1f3a --nodes 2 --processes 8 --accelerator gaudi "
            "--worker-image trimtab/gaudi-python:0.1.0 --volume-claim trimtab-home --out job.yaml"
        ),
    )(train_job)


def train_job(
    *,
    name: Annotated[str, typer.Option("--name", help="Name of the TrainJob.")],
    snapshot: Annotated[str, typer.Option("--snapshot", help="Id of a snapshot on the shared volume.")],
    volume_claim: Annotated[str, typer.Option("--volume-claim", help="Claim of the shared volume.")],
    out: Annotated[Path, typer.Option("--out", help="The YAML file to write.")],
    nodes: Annotated[int, typer.Option("--nodes", help="Machines.")] = 1,
    processes: Annotated[int, typer.Option("--processes", help="Processes on each machine: one per card.")] = 1,
    accelerator: Annotated[str, typer.Option("--accelerator", help="none, nvidia or gaudi.")] = "none",
    resource: Annotated[str, typer.Option("--resource", help="The card's extended resource, where unusual.")] = "",
    node_selector: Annotated[
        list[str] | None, typer.Option("--node-selector", metavar="KEY=VALUE", help="Nodes of the job.")
    ] = None,
    toleration: Annotated[
        list[str] | None,
        typer.Option("--toleration", metavar="KEY[=VALUE]:EFFECT", help="Taints that the job puts up with."),
    ] = None,
    worker_image: Annotated[str, typer.Option("--worker-image", help="Image of the job.")] = "",
    environment_secret: Annotated[
        str, typer.Option("--environment-secret", help="Secret with the cluster profile's variables.")
    ] = "",
    namespace: Annotated[str, typer.Option("--namespace", help="Namespace of the job.")] = "default",
    as_json: console.JsonOption = False,
) -> None:
    """Write the manifest of a Kubeflow TrainJob that fits one model on several cards or machines."""
    from pipelines import options
    from pipelines import train_job as job

    chosen = options.Options(
        accelerator=options.parse_accelerator(accelerator),
        resource=resource,
        node_selector=options.parse_node_selector(node_selector or []),
        tolerations=tuple(options.parse_toleration(text) for text in toleration or []),
        worker_image=worker_image,
        environment_secret=environment_secret,
        volume_claim=volume_claim,
    )
    fit = job.Fit(name, snapshot, nodes=nodes, processes=processes, namespace=namespace)
    manifest = job.train_job(fit, chosen)
    try:
        out.write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"'{out}' cannot be written: {error.strerror}.") from error
    console.emit(
        {"name": name, "file": str(out)},
        as_json=as_json,
        render=lambda: console.out.print(f"[green]✓[/] {out}", highlight=False, soft_wrap=True),
    )
