"""`trimtab experiment apply`, `get`, `describe` and `abort`: experiments that a cluster's controller looks after."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimtab.cli import console
from trimtab.errors import BadInput

NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace", "-n", envvar="TRIMTAB_NAMESPACE", help="Namespace; the kubeconfig's or the pod's, where absent."
    ),
]
NameArgument = Annotated[str, typer.Argument(help="Name of the experiment.")]
_STYLES = {"Shipped": "bold green", "RolledBack": "bold red", "Aborted": "bold red", "Held": "bold yellow"}
_MARKS = {"True": "[green]✓[/]", "False": "[red]✗[/]", "Unknown": "[yellow]?[/]"}
_USUAL = {"Ready": "True", "Healthy": "True"}  # What is no news; of the others either status may be.


def add(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command("apply", epilog=console.example("trimtab experiment apply checkout.yaml --namespace shop"))(apply)
    group.command("get", epilog=console.example("trimtab experiment get --namespace shop"))(get)
    group.command("describe", epilog=console.example("trimtab experiment describe checkout-v4"))(describe)
    group.command("abort", epilog=console.example("trimtab experiment abort checkout-v4 --why 'wrong prices'"))(abort)


def apply(
    *,
    file: Annotated[str, typer.Argument(help="ModelExperiment, or rollout plan (YAML).")],
    namespace: NamespaceOption = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Give an experiment to the cluster's controller, after the checks that the controller makes."""
    from trimtab import runtime
    from trimtab.rollout.resource import read_resource

    wanted = _read(file)
    read_resource(wanted)
    resources = runtime.load(profile).experiments(namespace or wanted["metadata"].get("namespace", ""))
    found = resources.apply(wanted)
    name = found["metadata"]["name"]
    told = f"ModelExperiment '{name}' is in namespace '{resources.namespace}'; `trimtab experiment get` follows it."
    console.emit(found, as_json=as_json, render=lambda: console.out.print(told, highlight=False, soft_wrap=True))


def get(
    *,
    name: Annotated[str, typer.Argument(help="Name of the experiment; all of them where absent.")] = "",
    namespace: NamespaceOption = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """List the experiments of a namespace: phase, step, verdict and lift."""
    from trimtab import runtime

    resources = runtime.load(profile).experiments(namespace)
    found = [resources.get(name)] if name else list(resources.list())
    result = found[0] if name else found
    table = experiments_table(found, namespace=resources.namespace, now=datetime.now(UTC))
    console.emit(result, as_json=as_json, render=lambda: console.out.print(table))


def describe(
    *,
    name: NameArgument,
    namespace: NamespaceOption = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Tell where an experiment stands, why, which looks were taken and when the next one is."""
    from trimtab import runtime

    found = runtime.load(profile).experiments(namespace).get(name)
    console.emit(found, as_json=as_json, render=lambda: console.out.print(experiment_view(found)))


def abort(
    *,
    name: NameArgument,
    why: Annotated[str, typer.Option("--why", help="The reason, for the audit log.")],
    who: Annotated[str, typer.Option("--who", help="Who decides; you, where absent.")] = "",
    namespace: NamespaceOption = "",
    profile: console.ProfileOption = "local",
    as_json: console.JsonOption = False,
) -> None:
    """Ask the controller to end an experiment now: everyone is answered by control."""
    from trimtab import runtime
    from trimtab.rollout.resource import BY, COMMAND, REASON

    resources = runtime.load(profile).experiments(namespace)
    status = resources.get(name).get("status") or {}
    if _holds(status, "Decided"):
        raise BadInput(f"experiment '{name}' has ended: {status.get('phase')}.")
    asked = {COMMAND: "abort", REASON: why, BY: who or console.user()}
    found = resources.annotate(name, asked)
    told = f"The controller will abort '{name}' at its next look."
    console.emit(found, as_json=as_json, render=lambda: console.out.print(told, highlight=False))


def experiments_table(found: Sequence[Mapping[str, Any]], *, namespace: str, now: datetime) -> RenderableType:
    """All experiments, one line each.

    Args:
        found: The resources.
        namespace: Where they lie.
        now: Aware time.
    """
    if not found:
        return Text(f"No experiment is in namespace '{namespace}'. `trimtab experiment apply FILE` starts one.")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("experiment", "model", "phase", "step", "verdict", "lift", "age", ""):
        table.add_column(title, overflow="fold")
    for one in found:
        status = one.get("status") or {}
        phase = str(status.get("phase") or "not seen yet")
        table.add_row(
            str(one["metadata"]["name"]),
            str(one["spec"].get("model", "")),
            Text(phase, style=_STYLES.get(phase, "cyan")),
            str(status.get("step") or ""),
            str(status.get("verdict") or "").replace("_", " "),
            str(status.get("lift") or ""),
            _age(str(one["metadata"].get("creationTimestamp") or ""), now=now),
            Text("; ".join(_unusual(status)), style="yellow"),
        )
    return table


def experiment_view(found: Mapping[str, Any]) -> RenderableType:
    """Where one experiment stands.

    Args:
        found: The resource.
    """
    status, spec = found.get("status") or {}, found["spec"]
    phase = str(status.get("phase") or "not seen yet")
    head = Text(f"{found['metadata']['name']}  ", style="bold")
    head.append(" ".join((phase, str(status.get("step") or ""))).strip(), style=_STYLES.get(phase, "cyan"))
    if "controlVersion" in status:
        versions = f"version {status['treatmentVersion']} against {status['controlVersion']}"
        weight = f"treatment at {float(status['weight']):.0%}, " if "weight" in status else ""
        head.append(f"\n{spec['model']}: {versions}; {weight}{spec['plannedUnits']:,} units planned", style="dim")
    parts: list[RenderableType] = [head, *(Text(str(reason)) for reason in status.get("reasons") or ())]
    if status.get("looks"):
        parts += ["", _looks(status["looks"])]
    if status.get("nextLook"):
        due = status["nextLook"]
        earliest = f", not before {due['notBefore']}" if due.get("notBefore") else ""
        parts.append(Text(f"next look: {due['known']:,} of {due['units']:,} units are known{earliest}", style="dim"))
    conditions = status.get("conditions") or ()
    parts += ["", *(_condition(one) for one in conditions)] if conditions else []
    parts += [Text(f"{arm['name']}: version {arm['version']} at {arm['url']}") for arm in status.get("arms") or ()]
    return Group(*parts)


def _read(path: str) -> dict[str, Any]:
    """The resource in a file; a rollout plan becomes one."""
    from trimtab.rollout.plan import build_plan
    from trimtab.rollout.resource import write_resource
    from trimtab.sessions.explain import read_spec

    file = Path(path)
    if not file.is_file():
        raise BadInput(f"there is no file '{path}'.", remedy="Check the path.")
    raw = read_spec(file, remedy="See docs/controller.md.")
    if "apiVersion" not in raw and "kind" not in raw:
        return write_resource(build_plan(raw, where=f"plan '{path}'"))
    if not isinstance(raw.get("metadata"), dict) or not raw["metadata"].get("name"):
        raise BadInput(f"'{path}' has no metadata.name.", remedy="Name the experiment: it divides the users.")
    return raw


def _looks(looks: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("look", "time", "information", "z", "ships at", "taken back at", "lift"):
        table.add_column(title, overflow="fold")
    for look in looks:
        lift = f"{look['lift']:+.1%}" if "lift" in look else ""
        figures = [f"{look[name]:.2f}" if name in look else "" for name in ("statistic", "goodBound", "badBound")]
        share = f"{look['fraction']:.0%}" if "fraction" in look else ""
        table.add_row(str(look["number"]), str(look["time"]), share, *figures, lift)
    return table


def _condition(one: Mapping[str, Any]) -> Text:
    line = Text.from_markup(f"{_MARKS.get(str(one['status']), '')} {one['type']} ")
    line.append(str(one.get("reason") or ""), style="dim")
    if one.get("message"):
        line.append(f"  {one['message']}", style="dim")
    return line


def _holds(status: Mapping[str, Any], kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in status.get("conditions") or ())


def _unusual(status: Mapping[str, Any]) -> list[str]:
    return [
        str(one.get("reason"))
        for one in status.get("conditions") or ()
        if one["type"] in _USUAL and one["status"] == "False" and one.get("reason") != "Waiting"
    ]


def _age(created: str, *, now: datetime) -> str:
    if not created:
        return ""
    seconds = int((now - datetime.fromisoformat(created.replace("Z", "+00:00"))).total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
