"""What is said about a saved model, and by one: all of a bundle but its tensors, free of torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from trimtab.errors import BadInput, NotFound
from trimtab.models.architecture import InputShape, NetworkOptions
from trimtab.models.calibrate import Calibration
from trimtab.models.encode import Encoder

ModelKind = Literal["plr_mlp", "logistic"]
Probabilities = npt.NDArray[np.float64]

MANIFEST = "model.json"
LEAN_WEIGHTS = "weights.npz"  # the tensors once more, as arrays; bundles of older versions lack it
FORMAT = 1


@dataclass(frozen=True)
class Actions:
    """What a model says about some rows, and what to do.

    Attributes:
        probability: Probability to convert without the action, [rows].
        uplift: What the action adds to it, [rows]; 0 where the model knows no action.
        act: Whether to act, [rows].
    """

    probability: Probabilities
    uplift: Probabilities
    act: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Manifest:
    """All of a model but its tensors.

    Attributes:
        name: Name of the model: its dataset spec's.
        kind: `plr_mlp` or `logistic`.
        encoder: Columns to arrays.
        shape: What the network is given.
        options: The network's architecture.
        knots: Knots per column of the preprocessing.
        calibration: From logits to probabilities.
        threshold: At and above it a row is predicted to convert.
        action_cost: Cost of one action as a share of the value of a conversion.
        notes: Where it came from: seeds, snapshot, versions.
        format: Version of this format.
    """

    name: str
    kind: ModelKind
    encoder: Encoder
    shape: InputShape
    options: NetworkOptions
    knots: int
    calibration: Calibration
    threshold: float
    action_cost: float
    notes: dict[str, str]
    format: int = FORMAT


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a saved model.

    Raises:
        NotFound: There is no model in the folder.
        BadInput: The manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFound(f"no model in '{folder}'.", remedy="Train one, or name the folder that holds model.json.")
    try:
        return TypeAdapter(Manifest).validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise unreadable(folder, error) from error


def unreadable(folder: Path, error: Exception) -> BadInput:
    """The error of a bundle that is there but cannot be read."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    return BadInput(f"the model in '{folder}' cannot be read: {reason}", remedy="Train it again.")
