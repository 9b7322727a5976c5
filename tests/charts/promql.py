"""Expressions of Prometheus' language, parsed as it would: which metrics they name, and by which labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import promql_parser
from prometheus_client import REGISTRY, CollectorRegistry

from serving.predictor.metrics import Metrics as PredictorMetrics
from serving.router import event_metrics, metrics  # noqa: F401 - importing them registers what they count
from trimtab.controller.metrics import Standings

# What Prometheus and its operator add to every series, and to those of a histogram.
_ADDED = {"namespace", "pod", "container", "service", "endpoint", "job", "instance", "le"}
# What a client library adds to a metric's name.
_SUFFIXES = ("", "_total", "_bucket", "_count", "_sum")
# Grafana's own words, as it would fill them in.
_FILLED = {"$__rate_interval": "5m", "$__range": "6h"}


@dataclass(frozen=True, slots=True)
class Use:
    """A metric in an expression.

    Attributes:
        metric: Its name.
        labels: Labels that it is selected or summed by.
        summed: Whether it is summed, so that only labels that it is summed by are left.
    """

    metric: str
    labels: frozenset[str]
    summed: bool


def uses(expression: str) -> list[Use]:
    """The metrics that an expression reads.

    Args:
        expression: As an alert or a panel has it.

    Raises:
        ValueError: Prometheus would refuse it.
    """
    for word, filled in _FILLED.items():
        expression = expression.replace(word, filled)
    return list(_uses(promql_parser.parse(expression), None))


def _uses(node: Any, grouped: frozenset[str] | None) -> Iterator[Use]:
    if isinstance(node, promql_parser.VectorSelector):
        selected = frozenset(matcher.name for matcher in node.matchers.matchers)
        yield Use(str(node.name), selected | (grouped or frozenset()), grouped is not None)
        return
    if isinstance(node, promql_parser.AggregateExpr):
        grouped = (grouped or frozenset()) | frozenset(node.modifier.labels if node.modifier else ())
    children = [getattr(node, part, None) for part in ("expr", "lhs", "rhs", "vector_selector")]
    for child in (*children, *getattr(node, "args", ())):
        if child is not None:
            yield from _uses(child, grouped)


@cache
def served() -> dict[str, frozenset[str]]:
    """Labels of each metric that router, arms and controller serve, by every name that its series have."""
    arms, standings = CollectorRegistry(), Standings()
    PredictorMetrics("shop", 1, registry=arms)
    counted = [one for registry in (REGISTRY, arms, standings._registry) for one in registry._collector_to_names]
    return {
        f"{one._name if hasattr(one, '_name') else one.name}{suffix}": frozenset(one._labelnames) | _ADDED
        for one in (*counted, *standings.collect())
        if hasattr(one, "_labelnames")
        for suffix in _SUFFIXES
    }
