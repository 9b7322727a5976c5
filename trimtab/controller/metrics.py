"""Where the experiments stand, for Prometheus: what their resources' statuses say, as numbers.

Each scrape is answered from the newest outcomes, so an experiment that is gone leaves no series behind.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trimtab.controller.reconcile import Outcome

_LABELS = ("experiment", "model")
_LOOK_FIGURES = {
    "lift": ("trimtab_experiment_lift", "Relative effect on the primary metric, at the newest look."),
    "statistic": ("trimtab_experiment_statistic", "Test statistic of the newest look."),
    "goodBound": ("trimtab_experiment_good_bound", "Statistic from which the newest look allows shipping."),
    "badBound": ("trimtab_experiment_bad_bound", "Statistic under which the newest look shows harm."),
    "fraction": (
        "trimtab_experiment_information_fraction",
        "Share of the planned information that the newest look had.",
    ),
    "number": ("trimtab_experiment_looks", "Looks taken."),
}
_EFFECT = {
    "estimate": ("trimtab_experiment_effect", "Effect on the primary metric, in its unit, at the newest look."),
    "low": ("trimtab_experiment_effect_low", "Lower end of the effect's interval, at the newest look."),
    "high": ("trimtab_experiment_effect_high", "Upper end of the effect's interval, at the newest look."),
}
_BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300)


class Standings(Collector):
    """What is known of each experiment, and how often it was looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._reconciled = Counter(
            "trimtab_controller_reconciles", "Calls for an experiment, by result.", ["result"], registry=self._registry
        )
        self.duration = Histogram(
            "trimtab_controller_reconcile_seconds",
            "Time of a call for an experiment.",
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def note(self, name: str, model: str, outcome: Outcome) -> None:
        """Take note of what became of an experiment.

        Args:
            name: Its name.
            model: The model whose users it divides; empty where its specification is not valid.
            outcome: What came of the newest call.
        """
        self._reconciled.labels("retry" if outcome.failed else "ok").inc()
        with self._lock:
            self._known[name] = (model, outcome.status)

    def forget(self, name: str) -> None:
        """An experiment is gone.

        Args:
            name: Its name.
        """
        with self._lock:
            self._known.pop(name, None)

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What a scrape sees."""
        with self._lock:
            known = sorted(self._known.items())
        phase = GaugeMetricFamily(
            "trimtab_experiment_phase", "1 for the phase that an experiment is in.", labels=[*_LABELS, "phase"]
        )
        verdict = GaugeMetricFamily(
            "trimtab_experiment_verdict", "1 for the newest verdict.", labels=[*_LABELS, "verdict"]
        )
        condition = GaugeMetricFamily(
            "trimtab_experiment_condition",
            "1 where a condition of the resource is true, 0 where it is false, absent where it is unknown.",
            labels=[*_LABELS, "type"],
        )
        for name, (model, status) in known:
            if "phase" in status:
                phase.add_metric([name, model, str(status["phase"])], 1)
            if status.get("verdict"):
                verdict.add_metric([name, model, str(status["verdict"])], 1)
            for one in status.get("conditions") or ():
                if one["status"] in ("True", "False"):
                    condition.add_metric([name, model, str(one["type"])], one["status"] == "True")
        figures = {name: (model, _figures(status)) for name, (model, status) in known}
        return [phase, verdict, condition, *_families(figures)]


def _figures(status: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of a status, by metric."""
    newest: Mapping[str, Any] = (status.get("looks") or ({},))[-1]
    effect, ahead = status.get("effect") or {}, status.get("nextLook") or {}
    found = {metric: newest[key] for key, (metric, _) in _LOOK_FIGURES.items() if key in newest}
    found |= {metric: effect[key] for key, (metric, _) in _EFFECT.items() if key in effect}
    given = {
        "trimtab_experiment_treated_share": status.get("weight"),
        "trimtab_experiment_known_units": ahead.get("known"),
        "trimtab_experiment_next_units": ahead.get("units"),
    }
    return {name: float(value) for name, value in (found | given).items() if value is not None}


_HELP = {
    **dict(_LOOK_FIGURES.values()),
    **dict(_EFFECT.values()),
    "trimtab_experiment_treated_share": "Share of the model's users that the treatment answers.",
    "trimtab_experiment_known_units": "Users whose outcomes are known, while a look is ahead.",
    "trimtab_experiment_next_units": "Known users from which the next look is taken.",
}


def _families(figures: Mapping[str, tuple[str, Mapping[str, float]]]) -> list[Metric]:
    families: list[Metric] = []
    for metric, told in _HELP.items():
        family = GaugeMetricFamily(metric, told, labels=_LABELS)
        for name, (model, values) in figures.items():
            if metric in values:
                family.add_metric([name, model], values[metric])
        families.append(family)
    return families
