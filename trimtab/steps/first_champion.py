"""Give a new shop its first champion: a calibrated logistic regression, where the model has none yet.

A tuned challenger then has something honest to win against (`docs/adr/0003`).
"""

from dataclasses import dataclass

from trimtab.errors import NotFound
from trimtab.ports import Ports
from trimtab.sessions.spec import load_spec
from trimtab.steps import register, train

STAGE = "first_champion"


@dataclass(frozen=True, slots=True)
class Config:
    """What to train it on.

    Attributes:
        snapshot_id: The snapshot, with its features computed.
        seed: Seed of the split; the main model's, so that both are judged on the same rows.
        run: Id of the run.
    """

    snapshot_id: str
    seed: int
    run: str


@dataclass(frozen=True, slots=True)
class Result:
    """Who is champion now.

    Attributes:
        model: Name of the registered model.
        version: The champion's version; 0 where the logistic regression did not pass the gate.
        trained: Whether it was made just now.
    """

    model: str
    version: int
    trained: bool


def run(config: Config, ports: Ports) -> Result:
    """Train and register a logistic regression, unless there is a champion.

    Raises:
        NotFound: The snapshot or its features do not exist.
        Unavailable: The registry does not answer.
    """
    model = load_spec(str(ports.snapshots.folder(config.snapshot_id) / "spec.yaml")).name
    try:
        return Result(model, ports.registry.resolve(model, "champion").version, trained=False)
    except NotFound:
        trained = train.run(train.Config(config.snapshot_id, kind="logistic", seed=config.seed), ports)
    registered = register.run(register.Config(config.snapshot_id, trained.bundle, config.seed, config.run), ports)
    return Result(model, registered.version if registered.gate.passed else 0, trained=True)
