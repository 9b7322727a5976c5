"""`trimtab train`: a model from a file or a snapshot, beside its baselines."""

from typing import Annotated, Literal

import typer
from rich.table import Table

from trimtab.cli import choices, console
from trimtab.errors import BadInput
from trimtab.ports import Ports

KINDS: tuple[Literal["plr_mlp", "logistic"], ...] = ("plr_mlp", "logistic")
_SHOWN = ("auc", "average_precision", "log_loss", "brier", "calibration_error", "accuracy", "f1")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "train",
        epilog="Example: trimtab train --data sessions.csv --spec spec.yaml --trials 12\n\n" + console.EXIT_CODES,
    )(train)


def train(
    *,
    data: Annotated[str, typer.Option("--data", help="CSV or Parquet file of sessions; needs --spec.")] = "",
    spec: Annotated[str, typer.Option("--spec", help="Dataset spec: a YAML file or a shipped name.")] = "",
    snapshot: Annotated[str, typer.Option("--snapshot", help="Id of a snapshot, instead of --data.")] = "",
    kind: Annotated[str, typer.Option("--kind", help="plr_mlp or logistic.")] = "plr_mlp",
    trials: Annotated[int, typer.Option("--trials", min=0, help="Tune with so many trials first.")] = 0,
    folds: Annotated[int, typer.Option("--folds", min=0, help="Also evaluate by so many folds.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of split, weights and resamples.")] = 7,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or hpu (Gaudi).")] = "auto",
    out: Annotated[str, typer.Option("--out", help="Folder of the model (default: with its snapshot).")] = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Train a model, calibrate it, and judge it beside its baselines on later or unseen rows."""
    from trimtab import runtime
    from trimtab.models.distributed import is_follower
    from trimtab.steps import train as step
    from trimtab.steps import tune

    chosen = choices.choice("--kind", kind, KINDS)
    where = choices.choice("--device", device, choices.DEVICES)
    with console.progress_bars(enabled=not as_json) as progress:
        ports = runtime.load(profile, progress=progress)
        identifier = _snapshot(data, spec, snapshot, ports)
        study = ""
        if trials and chosen == "plr_mlp":
            study = tune.run(tune.Config(identifier, trials=trials, seed=seed, device=where), ports).study
        config = step.Config(identifier, kind=chosen, study=study, seed=seed, device=where, out=out, folds=folds)
        if is_follower():
            step.follow(config, ports)
            return
        result = step.run(config, ports)
    console.emit(result, as_json=as_json, render=lambda: _render(result))


def _snapshot(data: str, spec: str, snapshot: str, ports: Ports) -> str:
    """The snapshot to train on, with its features computed; made from the file where one is given."""
    if bool(data) == bool(snapshot) or bool(data) != bool(spec):
        raise BadInput("train needs --data with --spec, or --snapshot.", remedy="See trimtab train --help.")
    if snapshot:
        return snapshot
    from trimtab.steps import features, validate

    identifier = validate.run(validate.Config(data=data, spec=spec), ports).snapshot_id
    features.run(features.Config(identifier), ports)
    return identifier


def _render(result: object) -> None:
    from trimtab.steps.train import Result

    assert isinstance(result, Result)
    evaluation = result.evaluation
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    models = {evaluation.model: evaluation.metrics, **evaluation.baselines}
    for name in models:
        table.add_column(name, justify="right")
    for metric in _SHOWN:
        cells = [f"{values[metric].estimate:.4f}" if metric in values else "-" for values in models.values()]
        table.add_row(metric.replace("_", " "), *cells)
    console.out.print(table)
    gauge = evaluation.metrics["auc"]
    console.out.print(
        f"\n  AUC {gauge.estimate:.4f} [{gauge.low:.4f}, {gauge.high:.4f}] on {evaluation.rows:,} test rows "
        f"(split by {result.split}); lowest log loss: [bold]{evaluation.winner}[/]",
        highlight=False,
    )
    if result.fold_means:
        folds = max(score.fold for score in result.folds)
        console.out.print(
            f"\n  Over {folds} folds, mean and standard deviation, lowest log loss first:", highlight=False
        )
    for mean in result.fold_means:
        console.out.print(
            f"  {mean.model:<10} AUC {mean.auc:.4f} ± {mean.auc_sd:.4f}  log loss {mean.log_loss:.4f} ± "
            f"{mean.log_loss_sd:.4f}  accuracy {mean.accuracy:.4f}",
            highlight=False,
        )
    console.out.print(f"  model: {result.bundle}", highlight=False, soft_wrap=True)
