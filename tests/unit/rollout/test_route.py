"""A route that contradicts itself is refused before a router reads it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trimtab.errors import BadInput
from trimtab.rollout.route import RoutePhase, dump_route, parse_route
from trimtab.testing.routes import ROUTE

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
HALVES = {"control": 0.5, "treatment": 0.5}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"control": "x"}, "no arm 'x'"),
        ({"shadow": "x"}, "shadows the arm 'x'"),
        ({"phases": ()}, "without a phase"),
        ({"timeout_ms": 0.0}, "must be positive"),
        ({"timeout_ms": float("inf")}, "must be positive"),
        ({"shadow_share": 1.5}, r"\[0, 1\]"),
        ({"attributes": ("device", "value")}, "'value'"),
        ({"attributes": ("device", "Time")}, "'Time'"),
        ({"attributes": ("device", "Device")}, "'Device' twice"),
        ({"experiment": "x" * 201}, "too long"),
        ({"model": "é" * 40}, "too long"),
        ({"attributes": ()}, "'device', which is not among"),
        ({"phases": (RoutePhase(BEGAN, {"control": 1.0}),)}, "not of its arms"),
        ({"phases": (RoutePhase(BEGAN.replace(tzinfo=None), HALVES),)}, "zones"),
        ({"phases": (RoutePhase(BEGAN, HALVES), RoutePhase(BEGAN, HALVES))}, "its own start"),
        ({"phases": (RoutePhase(BEGAN, {"control": 0.0, "treatment": 0.0}),)}, "not all zero"),
        ({"schema_version": 2}, "schema version 2"),
    ],
)
def test_refuses_a_contradiction(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        replace(ROUTE, **changes)


def test_a_request_is_assigned_by_the_phase_in_force_at_its_time() -> None:
    first, second = ROUTE.phases
    assert ROUTE.experiment_at(first.starts - timedelta(seconds=1)) is None
    early, late = ROUTE.experiment_at(first.starts), ROUTE.experiment_at(second.starts)
    assert early is not None
    assert late is not None
    assert (early.weights, late.weights) == ((0.9, 0.1), (0.5, 0.5))
    assert late.earlier == ((0.9, 0.1),)


def test_survives_json() -> None:
    assert parse_route(dump_route(ROUTE), where="x") == ROUTE


@pytest.mark.parametrize("document", [b"", b"[]", b'{"model": "m"}', dump_route(ROUTE).replace(b'"http://a"', b"5")])
def test_a_document_that_is_no_route_says_where_and_what(document: bytes) -> None:
    with pytest.raises(BadInput, match="the body: "):
        parse_route(document, where="the body")
