"""A trained conversion model as one thing: preprocessing, network, calibration and threshold.

What is saved is what was trained and what is served: a folder with a JSON manifest and a file of tensors. Nothing in it
is code, so loading it runs none.
"""

import pickle
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from trimtab.errors import BadInput, NotFound
from trimtab.models.calibrate import Calibration
from trimtab.models.encode import Codes, Encoder, Floats
from trimtab.models.networks import InputShape, NetworkOptions, build_network
from trimtab.models.preprocess import Preprocessor
from trimtab.sessions.inputs import ModelInputs

ModelKind = Literal["plr_mlp", "logistic"]
Probabilities = npt.NDArray[np.float64]

MANIFEST = "model.json"
WEIGHTS = "weights.pt"
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


class ConversionModel:
    """Predicts the probability that a session converts.

    Args:
        manifest: All but the tensors.
        preprocessor: Raw numbers to scores.
        network: Scores and codes to a logit.
    """

    def __init__(self, manifest: Manifest, preprocessor: Preprocessor, network: nn.Module) -> None:
        self.manifest = manifest
        self.preprocessor = preprocessor.eval()
        self.network = network.eval()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def kind(self) -> ModelKind:
        """Kind of the model."""
        return self.manifest.kind

    @property
    def inputs(self) -> ModelInputs:
        """Columns that the model reads."""
        return self.manifest.encoder.inputs

    @property
    def threshold(self) -> float:
        """At and above it a row is predicted to convert."""
        return self.manifest.threshold

    def predict(self, frame: pd.DataFrame, *, treatment: int | None = None) -> Probabilities:
        """Calibrated probability to convert, [rows].

        Args:
            frame: At least the request-time inputs; absent history takes the values of a unit never seen.
            treatment: Asks for every row as if the action were taken (1) or not (0); None takes the frame's own
                treatment column, or no action where it has none.

        Raises:
            BadInput: An input is absent or not a number.
        """
        return self.forward_arrays(*self.encode(frame, treatment=treatment))

    def act(self, frame: pd.DataFrame) -> Actions:
        """Probabilities without the action, what the action adds, and where to take it.

        A model with a treatment acts where the uplift exceeds the action's cost; one without acts where the
        probability reaches the threshold.
        """
        return self.act_arrays(*self.encode(frame, treatment=0 if self.inputs.treatment else None))

    def act_arrays(self, numeric: Floats, codes: Codes) -> Actions:
        """As `act`, from encoded rows; any treatment in them is overridden."""
        if self.inputs.treatment is None:
            probability = self.forward_arrays(numeric, codes)
            return Actions(probability, np.zeros_like(probability), probability >= self.threshold)
        both = np.concatenate([numeric, numeric])
        both[: len(numeric), -1], both[len(numeric) :, -1] = 0, 1
        without, treated = np.split(self.forward_arrays(both, np.concatenate([codes, codes])), 2)
        uplift = treated - without
        return Actions(without, uplift, uplift > self.manifest.action_cost)

    def encode(self, frame: pd.DataFrame, *, treatment: int | None = None) -> tuple[Floats, Codes]:
        """Columns to `(numeric, codes)`; see `Encoder.encode`."""
        return self.manifest.encoder.encode(frame, treatment=treatment)

    def encode_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Floats, Codes]:
        """Requests to `(numeric, codes)` without a frame; see `Encoder.encode_rows`."""
        return self.manifest.encoder.encode_rows(rows)

    def forward_arrays(self, numeric: Floats, codes: Codes) -> Probabilities:
        """Calibrated probabilities of encoded rows, [rows]: the lean path of a server."""
        return self.manifest.calibration.probability(self.logits(numeric, codes))

    def logits(self, numeric: Floats, codes: Codes, *, rows: int = 16_384) -> Probabilities:
        """Uncalibrated log odds of encoded rows, [rows], computed in blocks of `rows`."""
        with torch.inference_mode():
            parts: list[Tensor] = []
            for start in range(0, len(numeric), rows):
                values = self.preprocessor(torch.from_numpy(numeric[start : start + rows]))
                parts.append(self.network(values, torch.from_numpy(codes[start : start + rows])))
        if not parts:
            return np.empty(0)
        logits: Probabilities = (parts[0] if len(parts) == 1 else torch.cat(parts)).numpy().astype(np.float64)
        return logits

    def decided(self, *, calibration: Calibration, threshold: float) -> "ConversionModel":
        """The same network with another calibration and threshold."""
        manifest = replace(self.manifest, calibration=calibration, threshold=threshold)
        return ConversionModel(manifest, self.preprocessor, self.network)

    def save(self, folder: Path) -> Path:
        """Write the model; the folder is never seen half written, and replaces an older one.

        Returns:
            The folder.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            part.chmod(0o755)
            manifest = orjson.dumps(asdict(self.manifest), option=orjson.OPT_INDENT_2)
            (part / MANIFEST).write_bytes(manifest)
            tensors = {"preprocessor": self.preprocessor.state_dict(), "network": self.network.state_dict()}
            torch.save(tensors, part / WEIGHTS)
            if folder.exists():
                folder.rename(part.with_suffix(".old"))
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(part.with_suffix(".old"), ignore_errors=True)
        return folder

    @staticmethod
    def load(folder: Path) -> "ConversionModel":
        """Read a saved model.

        Raises:
            NotFound: There is no model in the folder.
            BadInput: What is there cannot be read.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise NotFound(f"no model in '{folder}'.", remedy="Train one, or name the folder that holds model.json.")
        try:
            manifest = TypeAdapter(Manifest).validate_json(path.read_bytes())
            tensors = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
            columns = len(manifest.encoder.numeric)
            preprocessor = Preprocessor(columns, manifest.shape.flags, knots=manifest.knots)
            preprocessor.load_state_dict(tensors["preprocessor"])
            network = build_network(manifest.shape, manifest.options)
            network.load_state_dict(tensors["network"])
        except (ValidationError, pickle.UnpicklingError, OSError, RuntimeError, KeyError, EOFError) as error:
            raise BadInput(
                f"the model in '{folder}' cannot be read: {_first_line(error)}", remedy="Train it again."
            ) from error
        return ConversionModel(manifest, preprocessor, network)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
