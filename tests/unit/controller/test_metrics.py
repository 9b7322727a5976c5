"""Where experiments stand, as Prometheus reads it."""

import threading
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from trimtab.controller.health import Pulse, health_endpoint
from trimtab.controller.metrics import Standings
from trimtab.controller.reconcile import Outcome

STATUS: dict[str, Any] = {
    "phase": "Ramping",
    "weight": 0.25,
    "verdict": "hold",
    "effect": {"estimate": 0.012, "low": -0.001, "high": 0.025},
    "looks": [
        {"number": 1, "time": "2026-03-01T00:00:00Z", "fraction": 0.1, "statistic": 0.4, "goodBound": 6.0},
        {"number": 2, "time": "2026-03-02T00:00:00Z", "fraction": 0.2, "statistic": 1.8, "goodBound": 4.1, "lift": 0.1},
    ],
    "nextLook": {"units": 900, "known": 411},
    "conditions": [
        {"type": "Ready", "status": "True"},
        {"type": "Healthy", "status": "False"},
        {"type": "Decided", "status": "Unknown"},
    ],
}
EXPERIMENT = {"experiment": "checkout", "model": "shop"}


def _scraped(standings: Standings) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(standings.exposition().decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def _value(standings: Standings, name: str, **labels: str) -> float | None:
    return _scraped(standings).get((name, frozenset({**EXPERIMENT, **labels}.items())))


def test_a_status_s_numbers_are_shown() -> None:
    standings = Standings()
    standings.note("checkout", "shop", Outcome(STATUS))
    assert _value(standings, "trimtab_experiment_phase", phase="Ramping") == 1
    assert _value(standings, "trimtab_experiment_verdict", verdict="hold") == 1
    figures = {
        "treated_share": 0.25,
        "looks": 2,
        "lift": 0.1,
        "statistic": 1.8,
        "good_bound": 4.1,
        "information_fraction": 0.2,
        "effect": 0.012,
        "effect_low": -0.001,
        "effect_high": 0.025,
        "known_units": 411,
        "next_units": 900,
    }
    assert {name: _value(standings, f"trimtab_experiment_{name}") for name in figures} == figures
    assert _value(standings, "trimtab_experiment_bad_bound") is None


def test_a_condition_that_is_unknown_has_no_value() -> None:
    standings = Standings()
    standings.note("checkout", "shop", Outcome(STATUS))
    values = {kind: _value(standings, "trimtab_experiment_condition", type=kind) for kind in ("Ready", "Healthy")}
    assert values == {"Ready": 1, "Healthy": 0}
    assert _value(standings, "trimtab_experiment_condition", type="Decided") is None


def test_an_experiment_that_changes_or_goes_leaves_no_series_behind() -> None:
    standings = Standings()
    standings.note("checkout", "shop", Outcome(STATUS))
    standings.note("checkout", "shop", Outcome({**STATUS, "phase": "Shipped", "nextLook": None}, failed="away"))
    assert _value(standings, "trimtab_experiment_phase", phase="Ramping") is None
    assert _value(standings, "trimtab_experiment_next_units") is None
    standings.forget("checkout")
    assert not [name for name, _ in _scraped(standings) if name.startswith("trimtab_experiment_")]
    counted = {dict(labels)["result"]: n for (name, labels), n in _scraped(standings).items() if "reconciles_t" in name}
    assert counted == {"ok": 1, "retry": 1}


def test_an_experiment_that_was_never_started_has_what_is_known() -> None:
    standings = Standings()
    refused = [{"type": "Ready", "status": "False", "reason": "Invalid"}]
    standings.note("checkout", "", Outcome({"observedGeneration": 1, "conditions": refused}))
    found = {(name, labels) for name, labels in _scraped(standings) if name.startswith("trimtab_experiment_")}
    labels = {"experiment": "checkout", "model": "", "type": "Ready"}
    assert found == {("trimtab_experiment_condition", frozenset(labels.items()))}


def test_a_scrape_is_answered_while_experiments_change() -> None:
    standings, over = Standings(), threading.Event()

    def change() -> None:
        while not over.is_set():
            standings.note("checkout", "shop", Outcome(STATUS))
            standings.forget("checkout")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with health_endpoint(Pulse(), standings.exposition, host="127.0.0.1", port=0) as port:
            for _ in range(20):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    assert answer.status == 200
                    assert b"trimtab_controller_reconciles_total" in answer.read()
    finally:
        over.set()
        thread.join()
