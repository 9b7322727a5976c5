"""Named ways in which the world changes after a model was trained.

A KPI that drifts is an intervention like any other: its mechanism is scaled, and what depends on it follows. A drift of
the concept changes the outcome equation; a broken pixel changes nothing but what is reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from trimtab.errors import BadInput


@dataclass(frozen=True, slots=True)
class Drift:
    """One change of the world.

    Attributes:
        description: What happened, in a sentence.
        scale: KPI to the factor that its mechanism is multiplied by; descendants follow.
        to_mobile: Probability that a visit from another device comes from a mobile instead.
        source_shift: Traffic source to what is added to the log of its share.
        load: Added to the backend's load (standard deviations).
        always_promotion: Whether a sale runs all the time.
        concept: Coefficient of `outcome.Outcome` to its new value.
        silent: KPIs that stop being reported.
    """

    description: str
    scale: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    to_mobile: float = 0.0
    source_shift: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    load: float = 0.0
    always_promotion: bool = False
    concept: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    silent: tuple[str, ...] = ()


DRIFTS: Mapping[str, Drift] = MappingProxyType(
    {
        "none": Drift("The world as it was."),
        "slow_backend": Drift(
            "A database migration went wrong: queues, database and APIs are slower.",
            scale={
                "db_time_ms": 2.5,
                "server_queue_ms": 3.0,
                "api_search_ms": 1.6,
                "api_recommendations_ms": 1.6,
                "api_cart_ms": 1.6,
                "api_checkout_ms": 1.7,
                "api_payment_ms": 1.4,
            },
        ),
        "mobile_shift": Drift("A campaign brings visitors on mobiles.", to_mobile=0.5, source_shift={"social": 0.7}),
        "release_regression": Drift(
            "A release ships far more JavaScript, and visitors now react more to slow interactions.",
            scale={"js_kb": 1.8, "tbt_ms": 1.5, "inp_ms": 1.4, "js_errors": 2.0},
            concept={"inp": -1.8, "cart_items": 2.0},
        ),
        "seasonal": Drift(
            "The high season: more traffic from mails and adverts, a sale, a loaded backend.",
            load=1.0,
            always_promotion=True,
            source_shift={"email": 0.8, "paid": 0.6},
        ),
        "broken_pixel": Drift(
            "Nothing changed in the shop, but the browser agent stopped reporting INP.", silent=("inp_ms",)
        ),
    }
)


def named(name: str) -> Drift:
    """The drift of that name.

    Raises:
        BadInput: There is none.
    """
    if name not in DRIFTS:
        raise BadInput(f"there is no drift named '{name}'.", remedy=f"Choose one of: {', '.join(DRIFTS)}.")
    return DRIFTS[name]
