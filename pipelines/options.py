"""What is fixed when a pipeline is compiled: how many tuning workers, and where tasks run on a cluster."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from components.image import IMAGE
from trimtab.errors import BadInput

__all__ = ["IMAGE", "Options", "Toleration", "parse_accelerator", "parse_node_selector", "parse_toleration"]

Accelerator = Literal["none", "nvidia", "gaudi"]
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]

# Extended resource that Kubernetes counts each kind of card by.
RESOURCES: dict[Accelerator, str] = {"nvidia": "nvidia.com/gpu", "gaudi": "habana.ai/gaudi"}

# What a pod needs for the `cluster` profile, as keys of one Secret.
REQUIRED_ENVIRONMENT = (
    "MLFLOW_TRACKING_URI",
    "TRIMTAB_ARTIFACT_ROOT",
    "TRIMTAB_STUDY_STORAGE",
    "TRIMTAB_FEATURE_REGISTRY",
    "TRIMTAB_ONLINE_STORE",
    "TRIMTAB_EVENTS",
    "KFP_ENDPOINT",
)
# Further keys of that Secret, set where it has them: the key of the pseudonyms, which tasks and router must share, and
# a way into an object store for pods that have none by their service account.
OPTIONAL_ENVIRONMENT = (
    "TRIMTAB_PSEUDONYM_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "MLFLOW_S3_ENDPOINT_URL",
)
HOME = "/var/lib/trimtab"  # the `cluster` profile's state folder
RECIPES = f"{HOME}/hpu-recipes"  # where the workers of a study share what Gaudi has compiled
_RECIPES_MEGABYTES = 1024
MOST_RETRIES = 10


@dataclass(frozen=True, slots=True)
class Toleration:
    """A taint that the tuning workers put up with; without a value, whatever its value."""

    key: str
    value: str
    effect: Effect


@dataclass(frozen=True, slots=True)
class Options:
    """How to compile a pipeline.

    Attributes:
        workers: Tuning workers that share one study.
        accelerator: Card of each tuning worker; one card per worker.
        resource: Extended resource of the card, where it is not the accelerator's usual one (a slice of a card).
        node_selector: Labels of the nodes that tuning workers run on.
        tolerations: Taints that tuning workers put up with.
        retries: How often a tuning worker that was lost is started again. It goes on with its share of the trials, so
            that an eviction costs the one trial that was running.
        cpu: CPUs that every task asks for, such as `2` or `500m`; empty for none.
        memory: Memory that every task asks for and may use at most, such as `4Gi`; empty for none. A task without any
            is the first to go where a node runs short, and none starts where a quota counts memory.
        image: Image of every task.
        worker_image: Image of the tuning workers, where it is another.
        environment_secret: Secret with the `cluster` profile's environment variables; empty for none.
        volume_claim: Claim of the volume that all tasks share, mounted at `HOME`; empty for none.
    """

    workers: int = 2
    accelerator: Accelerator = "none"
    resource: str = ""
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    retries: int = 0
    cpu: str = ""
    memory: str = ""
    image: str = IMAGE
    worker_image: str = ""
    environment_secret: str = ""
    volume_claim: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 64:
            raise BadInput(f"workers is {self.workers}; it must be from 1 to 64.")
        if not 0 <= self.retries <= MOST_RETRIES:
            raise BadInput(f"retries is {self.retries}; it must be from 0 to {MOST_RETRIES}.")
        for name, value, form, example in (
            ("cpu", self.cpu, r"\d+(\.\d+)?|\d+m", "2 or 500m"),
            ("memory", self.memory, r"\d+(\.\d+)?([KMGT]i?)?", "4Gi"),
        ):
            if value and not re.fullmatch(form, value):
                raise BadInput(f"{name} is '{value}', which is no quantity.", remedy=f"For example: {example}.")
        if self.resource and self.accelerator == "none":
            raise BadInput(
                f"resource '{self.resource}' is given without an accelerator.",
                remedy="Add --accelerator nvidia or gaudi.",
            )

    @property
    def card(self) -> str:
        """Extended resource of each tuning worker's card; empty for none."""
        return self.resource or RESOURCES.get(self.accelerator, "")

    @property
    def worker_environment(self) -> dict[str, str]:
        """What the card's software is told."""
        if self.accelerator != "gaudi":
            return {}
        told = {"PT_HPU_LAZY_MODE": "0"}  # eager with torch.compile; lazy mode is on its way out
        if self.volume_claim:  # folder, whether to empty it at the start, size in MB
            told["PT_HPU_RECIPE_CACHE_CONFIG"] = f"{RECIPES},False,{_RECIPES_MEGABYTES}"
        return told


def parse_accelerator(name: str) -> Accelerator:
    """The accelerator of that name.

    Raises:
        BadInput: There is none.
    """
    known: dict[str, Accelerator] = {accelerator: accelerator for accelerator in get_args(Accelerator)}
    if name not in known:
        raise BadInput(f"accelerator '{name}' is not known.", remedy=f"Give one of: {', '.join(known)}.")
    return known[name]


def parse_node_selector(labels: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as labels.

    >>> parse_node_selector(["habana.ai/device.name=gaudi3"])
    {'habana.ai/device.name': 'gaudi3'}

    Raises:
        BadInput: A text has no key or no `=`.
    """
    pairs = {}
    for label in labels:
        key, separator, value = label.partition("=")
        if not separator or not key:
            raise BadInput(f"node selector '{label}' is not KEY=VALUE.", remedy="For example: pool=gaudi.")
        pairs[key] = value
    return pairs


def parse_toleration(text: str) -> Toleration:
    """`KEY[=VALUE]:EFFECT` as a toleration.

    >>> parse_toleration("habana.ai/gaudi:NoSchedule")
    Toleration(key='habana.ai/gaudi', value='', effect='NoSchedule')

    Raises:
        BadInput: The text has another form, or the effect is not one of Kubernetes'.
    """
    effects: dict[str, Effect] = {effect: effect for effect in get_args(Effect)}
    match = re.fullmatch(r"(?P<key>[^=:]+)(=(?P<value>[^:]*))?:(?P<effect>\w+)", text)
    if match is None or match["effect"] not in effects:
        raise BadInput(
            f"toleration '{text}' is not KEY[=VALUE]:EFFECT.", remedy=f"EFFECT is one of {', '.join(effects)}."
        )
    return Toleration(match["key"], match["value"] or "", effects[match["effect"]])
