"""What of the truth is reported: values that browsers and agents lose.

Only KPIs without a direct effect on conversion are ever lost, so that the true probability stays a function of
what is in the table (a broken pixel is the exception: that is its point).
"""

from collections.abc import Mapping

import numpy as np

from trimtab.sessions.simulator.catalogue import Array, categories, spec
from trimtab.sessions.simulator.context import Context
from trimtab.sessions.simulator.drift import Drift

# Lost at random: restricted timing of other origins, sampled agents, blocked scripts.
LOST_AT_RANDOM = {
    "dns_ms": 0.02,
    "tls_ms": 0.02,
    "css_kb": 0.01,
    "third_party_ms": 0.03,
    "server_cpu_pct": 0.015,
    "db_queries": 0.01,
    "clicks": 0.005,
    "exit_scroll_pct": 0.03,
}
# Browsers without the Network Information API report no throughput.
NO_DOWNLINK = ("safari", "firefox")
# Who leaves before the page is complete reports neither its completion nor its load event.
LEFT_EARLY_LOG_MS, LEFT_EARLY_SHARE = 9.0, 0.25


def report(rng: np.random.Generator, context: Context, kpis: Mapping[str, Array], drift: Drift) -> dict[str, Array]:
    """The KPIs as reported: copies with NaN where the value was lost.

    Args:
        rng: Randomness of the losses.
        context: Circumstances of the visits.
        kpis: True values, in any order.
        drift: KPIs that stopped being reported.

    Returns:
        KPIs in the order of the spec.
    """
    count = len(context)
    lost = {name: rng.random(count, dtype=np.float32) < share for name, share in LOST_AT_RANDOM.items()}
    without = [categories("browser").index(name) for name in NO_DOWNLINK]
    lost["downlink_mbps"] = np.isin(context.browser, without)
    slow = 1 / (1 + np.exp(LEFT_EARLY_LOG_MS - np.log(kpis["dom_complete_ms"])))
    left = rng.random(count, dtype=np.float32) < LEFT_EARLY_SHARE * slow
    lost |= {"dom_complete_ms": left, "load_event_ms": left}
    lost |= {name: np.ones(count, dtype=bool) for name in drift.silent}
    ordered = {name: kpis[name] for name in spec().kpis if name in kpis}
    return {
        name: np.where(lost[name], np.float32(np.nan), values) if name in lost else values
        for name, values in ordered.items()
    }
