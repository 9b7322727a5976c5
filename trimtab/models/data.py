"""The arrays that models are trained on, made from a frame and a split by the encoder that will serve."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from trimtab.models.architecture import InputShape
from trimtab.models.encode import Codes, Encoder, Floats, hide_codes, learn_encoder
from trimtab.models.fit import Rows
from trimtab.models.preprocess import Preprocessor, learn_preprocessor
from trimtab.models.split import Index, Split
from trimtab.sessions.inputs import model_inputs
from trimtab.sessions.spec import DatasetSpec


@dataclass(frozen=True)
class Encoded:
    """Encoded rows of one part.

    Attributes:
        numeric: Raw numbers, float32 [rows, p].
        codes: Category codes, int64 [rows, c].
        label: 0 or 1, float32 [rows].
    """

    numeric: Floats
    codes: Codes
    label: npt.NDArray[np.float32]

    def take(self, index: Index) -> "Encoded":
        """Some rows."""
        return Encoded(self.numeric[index], self.codes[index], self.label[index])


@dataclass(frozen=True)
class TrainingData:
    """A frame made ready for models; everything learned is learned from the training part.

    Attributes:
        encoder: Columns to arrays.
        preprocessor: Raw numbers to scores.
        train: Training part.
        validation: Validation part.
        test: Test part.
    """

    encoder: Encoder
    preprocessor: Preprocessor
    train: Encoded
    validation: Encoded
    test: Encoded

    @property
    def shape(self) -> InputShape:
        """What a network is given."""
        numeric = len(self.encoder.numeric)
        return InputShape(numeric, int(self.preprocessor.flagged.numel()), self.encoder.cardinalities)

    def rows(self, part: Encoded, *, hide: np.random.Generator | None = None) -> Rows:
        """Preprocessed rows of a part; `hide` sends a small share of the codes to the unknown bucket."""
        with torch.inference_mode():
            values = torch.cat([self.preprocessor(block) for block in torch.from_numpy(part.numeric).split(16_384)])
        codes = part.codes if hide is None else hide_codes(part.codes, hide)
        # A clone is an ordinary tensor, which autograd may save; an inference tensor is not.
        return Rows(values.clone(), torch.from_numpy(codes), torch.from_numpy(part.label))


def prepare(frame: pd.DataFrame, spec: DatasetSpec, split: Split) -> TrainingData:
    """Learn encoder and preprocessing from the training part, and encode all parts.

    Args:
        frame: The training frame: sessions with their history features.
        spec: Its spec.
        split: Which rows are which.

    Raises:
        BadInput: An input is absent or not a number.
    """
    encoder = learn_encoder(frame.iloc[split.train], model_inputs(spec))
    parts = [
        Encoded(*encoder.encode(rows), rows[spec.label].to_numpy(dtype=np.float32))
        for rows in (frame.iloc[index] for index in (split.train, split.validation, split.test))
    ]
    return TrainingData(encoder, learn_preprocessor(parts[0].numeric), parts[0], parts[1], parts[2])
