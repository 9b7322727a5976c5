"""How an arm served its requests, as plain numbers: what latency and error guardrails are judged by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """All requests of the units of one arm, repeated ones included.

    Attributes:
        requests: Exposures (or shadow requests).
        failures: How many of them the arm could not answer, so that another one did.
        latency_p50_ms: Median time that units waited; NaN without requests, as are the others.
        latency_p99_ms: 99th percentile of it.
        latency_p99_low_ms: Lower end of the 95% order-statistic interval of the 99th percentile.
        latency_p99_high_ms: Upper end of it.
        versions: Versions that answered as the arm itself, in order; empty where nobody asked.
    """

    requests: int
    failures: int
    latency_p50_ms: float
    latency_p99_ms: float
    latency_p99_low_ms: float
    latency_p99_high_ms: float
    versions: tuple[str, ...] = ()
