"""A rollout in a terminal."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimtab.rollout.machine import described
from trimtab.rollout.observation import Decision
from trimtab.rollout.simulation import SimulationSummary
from trimtab.steps.rollout import Result, Status
from trimtab.steps.rollout_visits import Came

_STYLES = {"ship": "bold green", "roll_back": "bold red", "abort": "bold red", "end": "bold yellow", "grow": "cyan"}
_MARKS = {"pass": "[green]✓[/]", "fail": "[red]✗[/]", "open": "[yellow]…[/]"}
_SHOWN_REASONS = 3


def decision_line(result: Result, came: Came | None = None) -> RenderableType:
    """One decision in a few lines, and who came since."""
    line = _decision(result.decision)
    if came is not None:
        arms = ", ".join(f"{arm} {users:,}" for arm, users in came.by_arm.items())
        line.append(
            f"\n         {came.users:,} users came ({arms}), {came.conversions:,} converted, "
            f"{came.fallbacks:,} answered by another arm, p99 {came.latency_p99_ms:.0f} ms",
            style="dim",
        )
    return line


def status_view(found: Status) -> RenderableType:
    """Where a rollout stands, the newest evidence, and what was decided."""
    plan, state = found.plan, found.state
    head = Text(f"{plan.name}  ", style="bold")
    head.append(described(plan, state).replace("_", " "), style=_style(state.status))
    head.append(
        f"\n{plan.model}: version {state.treatment} against {state.control}; {len(state.looks)} looks, "
        f"{plan.planned_units:,} units planned, alpha {plan.experiment.alpha:g}",
        style="dim",
    )
    parts: list[RenderableType] = [head, ""]
    judged = [decision for decision in found.decisions if decision.criteria]
    if judged:
        parts += [_matrix(judged[-1]), ""]
    parts += [_decision(decision) for decision in found.decisions]
    if found.waiting is not None:
        parts.append(Text(f"waiting: {found.waiting.kind} by {found.waiting.who}: {found.waiting.why}", style="yellow"))
    return Group(*parts)


def rollouts_table(found: Sequence[Status]) -> RenderableType:
    """All rollouts, one line each."""
    if not found:
        return Text("No rollout has been started yet. `trimtab rollout start PLAN` starts one.")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("rollout", "model", "control", "treatment", "status", "looks", "last decision"):
        table.add_column(title, overflow="fold")
    for one in found:
        last = one.decisions[-1] if one.decisions else None
        table.add_row(
            one.name,
            one.plan.model,
            str(one.state.control),
            str(one.state.treatment),
            Text(described(one.plan, one.state).replace("_", " "), style=_style(one.state.status)),
            str(len(one.state.looks)),
            "" if last is None else f"{last.action.replace('_', ' ')}: {last.reasons[0] if last.reasons else ''}",
        )
    return table


def simulation_view(result: SimulationSummary, lift: float) -> RenderableType:
    """How simulated rollouts ended."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for status, ends in result.ends.items():
        share = ends.share
        table.add_row(
            Text(status.replace("_", " "), style=_style(status)),
            f"{share.estimate:.1%}",
            f"({share.low:.1%} to {share.high:.1%})",
        )
    median, high, highest = result.treated_quantiles
    table.add_row(
        "users who met it",
        f"{result.treated:,.0f}",
        f"median {median:,.0f}, 90% {high:,.0f}, 99% {highest:,.0f}; one look at the end: {result.fixed_horizon:,.0f}",
    )
    table.add_row("duration", f"{result.days:.1f} days", f"{result.looks:.1f} looks")
    return Group(Text(f"{result.runs:,} rollouts of a version with {lift:+.1%}", style="bold"), "", table)


def _decision(decision: Decision) -> Text:
    line = Text(f"{decision.time:%H:%M:%S} ", style="dim")
    line.append(decision.action.replace("_", " "), style=_STYLES.get(decision.action, ""))
    line.append(f"  {decision.after.replace('_', ' ')}, treatment at {decision.weight:.0%}", style="dim")
    for reason in decision.reasons[:_SHOWN_REASONS]:
        line.append(f"\n         {reason}")
    return line


def _matrix(decision: Decision) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("", "criterion", "asked for", "found"):
        table.add_column(title, overflow="fold")
    for line in decision.criteria:
        table.add_row(_MARKS[line.status], line.name, line.threshold, line.actual)
    return table


def _style(status: str) -> str:
    return {"shipped": "bold green", "rolled_back": "bold red", "aborted": "bold red", "held": "bold yellow"}.get(
        status, "cyan"
    )
