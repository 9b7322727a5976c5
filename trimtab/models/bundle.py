"""A trained conversion model as one thing: preprocessing, network, calibration and threshold.

What is saved is what was trained and what is served: a folder with a JSON manifest and the tensors, for torch and for a
server that has none (`LeanModel`). Nothing in it is code, so loading it runs none.
"""

import pickle
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd
import torch
from torch import Tensor, nn

from trimtab.models.calibrate import Calibration
from trimtab.models.encode import Codes, Floats
from trimtab.models.manifest import (
    LEAN_WEIGHTS,
    MANIFEST,
    Actions,
    Manifest,
    ModelKind,
    Probabilities,
    read_manifest,
    unreadable,
)
from trimtab.models.networks import build_network
from trimtab.models.preprocess import Preprocessor
from trimtab.sessions.inputs import ModelInputs

WEIGHTS = "weights.pt"


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

    def weights(self) -> dict[str, npt.NDArray[Any]]:
        """All tensors as arrays, under `preprocessor.` and `network.`."""
        modules = {"preprocessor": self.preprocessor, "network": self.network}
        return {
            f"{prefix}.{name}": tensor.numpy()
            for prefix, module in modules.items()
            for name, tensor in module.state_dict().items()
        }

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
            np.savez(part / LEAN_WEIGHTS, allow_pickle=False, **self.weights())
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
        manifest = read_manifest(folder)
        try:
            tensors = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)
            columns = len(manifest.encoder.numeric)
            preprocessor = Preprocessor(columns, manifest.shape.flags, knots=manifest.knots)
            preprocessor.load_state_dict(tensors["preprocessor"])
            network = build_network(manifest.shape, manifest.options)
            network.load_state_dict(tensors["network"])
        except (pickle.UnpicklingError, OSError, RuntimeError, KeyError, EOFError) as error:
            raise unreadable(folder, error) from error
        return ConversionModel(manifest, preprocessor, network)
