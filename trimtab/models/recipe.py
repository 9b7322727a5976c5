"""What is tuned: architecture and training options as one value, to and from the flat parameters of a study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from trimtab.errors import BadInput
from trimtab.models.architecture import NetworkOptions
from trimtab.models.fit import FitOptions

Param = float | int | str


@dataclass(frozen=True)
class Recipe:
    """How a network looks and how it is trained; the defaults are sensible untuned.

    Attributes:
        network: Architecture.
        fit: Training options.
    """

    network: NetworkOptions = field(default_factory=NetworkOptions)
    fit: FitOptions = field(default_factory=FitOptions)

    def params(self) -> dict[str, Param]:
        """Flat parameters; names do not collide.

        >>> Recipe().params()["kind"]
        'plr_mlp'
        """
        return {**asdict(self.network), **asdict(self.fit)}

    def updated(self, params: Mapping[str, Param]) -> "Recipe":
        """This recipe with some parameters changed.

        Raises:
            BadInput: A parameter has no such name.
        """
        network = {option.name for option in fields(NetworkOptions)}
        fit = {option.name for option in fields(FitOptions)}
        unknown = sorted(set(params) - network - fit)
        if unknown:
            raise BadInput(f"unknown training parameter(s): {', '.join(unknown)}.")
        return Recipe(
            replace(self.network, **{name: value for name, value in params.items() if name in network}),  # type: ignore[arg-type]
            replace(self.fit, **{name: value for name, value in params.items() if name in fit}),  # type: ignore[arg-type]
        )
