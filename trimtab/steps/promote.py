"""Make a version champion, by the verdict of an experiment or by a person who answers for it."""

from dataclasses import dataclass

from trimtab.errors import BadInput, NotFound
from trimtab.ports import Ports
from trimtab.types import Decision


@dataclass(frozen=True, slots=True)
class Config:
    """What to promote, and why.

    Attributes:
        model: Name of the registered model.
        version: The version.
        decision: The experiment's verdict.
        experiment: Name of the experiment, recorded with the version.
        override: Who promotes against the verdict and why; empty to follow it.
    """

    model: str
    version: int
    decision: Decision
    experiment: str = ""
    override: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the champion alias.

    Attributes:
        model: Name of the registered model.
        champion_before: The champion's version before this promotion; 0 where there was none.
        champion_after: The champion's version now.
    """

    model: str
    champion_before: int
    champion_after: int


def run(config: Config, ports: Ports) -> Result:
    """Move the champion alias to a version; the version remembers its predecessor.

    The predecessor is written down before the alias moves, and the challenger alias goes last, so that the step can be
    run again after a kill at any point and says the same.

    Raises:
        BadInput: The verdict is not to ship, and nobody overrides it.
        NotFound: The version does not exist.
    """
    if config.decision != "ship" and not config.override:
        raise BadInput(
            f"the verdict on version {config.version} of model '{config.model}' is '{config.decision}', not 'ship'.",
            remedy="To promote it all the same, say who decides so and why (override).",
        )
    version = ports.registry.resolve(config.model, str(config.version))
    champion = _holder(config.model, "champion", ports)
    if champion == config.version:
        before = int(version.tags.get("previous_champion", "0"))
    else:
        before = champion
        reason = f"override: {config.override}" if config.decision != "ship" else f"verdict: {config.decision}"
        tags = {"previous_champion": str(before), "promoted_by": reason, "promoted_after": config.experiment}
        ports.registry.set_tags(config.model, config.version, tags)
        ports.registry.set_alias(config.model, "champion", config.version)
    if _holder(config.model, "challenger", ports) == config.version:
        ports.registry.delete_alias(config.model, "challenger")
    return Result(config.model, champion_before=before, champion_after=config.version)


def _holder(model: str, alias: str, ports: Ports) -> int:
    """Version behind an alias; 0 where it is not set."""
    try:
        return ports.registry.resolve(model, alias).version
    except NotFound:
        return 0
