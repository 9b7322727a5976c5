"""A conversion model without torch: the same weights, arranged for the one request that a server answers.

For one row torch spends hundreds of microseconds on dispatch around a few of arithmetic, and so do more than a few
dozen numpy calls. Hence everything that does not depend on the row is computed once. The first layer is a sum over
columns, so the treatment's part of it is two constants (asking with and without the action costs little more than
asking once), each category's part is a row of a table, and the rest is one product. Constants have the shape of one
row, because numpy's quick loops want equal shapes.

Answers equal the network's to rounding in float32. Nothing here needs torch, unless a bundle is older than this module.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from trimtab.models.calibrate import Calibration
from trimtab.models.encode import Codes, Floats
from trimtab.models.manifest import LEAN_WEIGHTS, Actions, Manifest, Probabilities, read_manifest, unreadable

if TYPE_CHECKING:
    from trimtab.models.bundle import ConversionModel

Weights = Mapping[str, npt.NDArray[Any]]
Places = npt.NDArray[np.int64]

BLOCK_ROWS = 256  # rows at a time: their waves fit a core's cache


class Scores:
    """Raw numbers to normal scores: what `Preprocessor` does.

    All columns share one binary search: a knot's key has its column in the upper half of an integer and the float's own
    bits, made to sort as the numbers do, in the lower.

    Args:
        weights: State of the model.
        columns: Which numeric columns, [p].
    """

    def __init__(self, weights: Weights, columns: Places) -> None:
        part = {
            name: weights[f"preprocessor.{name}"][columns] for name in ("median", "lowest", "highest", "left", "base")
        }
        self._lowest, self._highest = part["lowest"][None], part["highest"][None]
        self._left, self._base = part["left"].ravel(), part["base"].ravel()
        self._slope = weights["preprocessor.slope"][columns].ravel()
        self._column_key = np.arange(len(columns), dtype=np.int64)[None] << 32
        inner = weights["preprocessor.inner"][columns]
        self._keys = (_sortable(inner) + self._column_key.T).ravel()
        self._column = np.arange(len(columns))[None]
        self._of_missing = self._base[: len(columns)][None]  # until it is known
        self._of_missing = self.of(part["median"][None], np.zeros((1, len(columns)), dtype=np.bool_))

    def of(self, numeric: Floats, missing: npt.NDArray[np.bool_]) -> Floats:
        """Scores of raw values, [rows, p]; `missing` says which are NaN, and they score as the median does."""
        clipped = np.fmax(numeric, self._lowest)  # the number where one of the two is NaN
        np.fmin(clipped, self._highest, out=clipped)
        piece = self._keys.searchsorted(_sortable(clipped) + self._column_key, side="right")
        piece += self._column  # a column has one piece more than it has inner knots
        clipped -= self._left.take(piece)
        clipped *= self._slope.take(piece)
        clipped += self._base.take(piece)
        np.copyto(clipped, self._of_missing, where=missing)
        return clipped


class Waves:
    """Periodic embeddings of scores: what `PeriodicEmbedding` does.

    A cosine is a sine a quarter turn later, and the bias is the weight of one more wave that is always 1.

    Args:
        weights: State of the model.
        columns: Which numeric columns, [p].
    """

    def __init__(self, weights: Weights, columns: Places) -> None:
        frequencies = weights["network.periodic.frequencies"][columns].T
        mix, bias = weights["network.periodic.linear.weight"], weights["network.periodic.linear.bias"]
        still = np.zeros((1, len(columns)))
        turns = 2 * np.pi * np.concatenate([frequencies, frequencies, still])
        quarters = np.repeat([1, 0, 1], [len(frequencies), len(frequencies), 1])
        self._turns = turns.astype(np.float32)[:, None]
        self._phases = np.broadcast_to(quarters[:, None, None] * np.pi / 2, self._turns.shape).astype(np.float32)
        self._mix = np.concatenate([mix, bias[:, None]], axis=1)

    @property
    def size(self) -> int:
        """Numbers that each column becomes."""
        return len(self._mix)

    def of(self, scores: Floats) -> Floats:
        """Embeddings of scores [rows, p], as [size, rows, p]."""
        waves = self._turns * scores
        waves += self._phases
        np.sin(waves, out=waves)
        mixed = self._mix.dot(waves.reshape(len(waves), scores.size))
        np.maximum(mixed, 0, out=mixed)
        return mixed.reshape(self.size, *scores.shape)


class FirstLayer:
    """What some numeric columns add to the first layer's units.

    Args:
        weights: State of the model.
        columns: Which numeric columns, [p].
        matrix: Weights of the first layer on all its inputs, [inputs, units].
    """

    def __init__(self, weights: Weights, columns: Places, matrix: Floats) -> None:
        total = len(weights["preprocessor.median"])
        self._scores = Scores(weights, columns)
        self._waves = Waves(weights, columns) if "network.periodic.frequencies" in weights else None
        flagged = weights["preprocessor.flagged"]
        mine = np.isin(flagged, columns)
        self._flagged = np.searchsorted(columns, flagged[mine])
        size = self._waves.size if self._waves else 0
        planes = np.arange(size + 1)[:, None] * total + columns  # embeddings plane by plane, then the scores
        inputs = np.concatenate([planes.ravel(), (size + 1) * total + np.flatnonzero(mine)])
        self._matrix = np.ascontiguousarray(matrix[inputs])

    def of(self, numeric: Floats) -> Floats:
        """What raw values [rows, p] add, [rows, units]."""
        missing = np.isnan(numeric)
        scores = self._scores.of(numeric, missing)
        parts = [scores]
        if self._waves:
            embedded = self._waves.of(scores).transpose(1, 0, 2)
            parts.insert(0, embedded.reshape(len(numeric), self._waves.size * numeric.shape[1]))
        if len(self._flagged):
            parts.append(missing.take(self._flagged, axis=1))
        added: Floats = np.concatenate(parts, axis=1).dot(self._matrix)
        return added


class LeanModel:
    """A conversion model in numpy; see `ConversionModel`, whose answers it gives.

    Args:
        manifest: All but the tensors.
        weights: State of the preprocessor and of the network, under `preprocessor.` and `network.`.
    """

    def __init__(self, manifest: Manifest, weights: Weights) -> None:
        self.manifest = manifest
        columns = np.arange(len(manifest.encoder.numeric))
        (matrix, bias), *rest = _layers(weights, manifest.calibration)
        self._whole, self._bias = FirstLayer(weights, columns, matrix), bias[None, None]
        self._categories, self._first_code = _category_parts(weights, manifest, matrix)
        self._sum_categories = np.ones(len(manifest.shape.cardinalities), dtype=np.float32)
        self._hidden = [(matrix, bias[None]) for matrix, bias in rest]
        self._has_treatment = manifest.encoder.inputs.treatment is not None
        if self._has_treatment:
            action = FirstLayer(weights, columns[-1:], matrix).of(np.array([[0], [1]], dtype=np.float32))
            self._shared, self._with_action = FirstLayer(weights, columns[:-1], matrix), (action + bias)[:, None]

    @staticmethod
    def of(model: "ConversionModel") -> "LeanModel":
        """The same model in numpy."""
        return LeanModel(model.manifest, model.weights())

    @staticmethod
    def load(folder: Path) -> "LeanModel":
        """Read a saved model; torch is imported only for a bundle that an older version of Trimtab wrote.

        Raises:
            NotFound: There is no model in the folder.
            BadInput: What is there cannot be read.
        """
        manifest = read_manifest(folder)
        if not (folder / LEAN_WEIGHTS).is_file():
            from trimtab.models.bundle import ConversionModel

            return LeanModel.of(ConversionModel.load(folder))
        try:
            with (folder / LEAN_WEIGHTS).open("rb") as file, np.load(file) as weights:
                return LeanModel(manifest, dict(weights))
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise unreadable(folder, error) from error

    def act_arrays(self, numeric: Floats, codes: Codes) -> Actions:
        """Probabilities without the action, what the action adds, and where to take it; see `ConversionModel`."""
        if not self._has_treatment:
            probability = self.forward_arrays(numeric, codes)
            return Actions(probability, np.zeros_like(probability), probability >= self.manifest.threshold)
        without, treated = self._probabilities(numeric[:, :-1], codes, self._shared, self._with_action)
        uplift = treated - without
        return Actions(without, uplift, uplift > self.manifest.action_cost)

    def forward_arrays(self, numeric: Floats, codes: Codes) -> Probabilities:
        """Calibrated probabilities of encoded rows, [rows]."""
        probability: Probabilities = self._probabilities(numeric, codes, self._whole, self._bias)[0]
        return probability

    def _probabilities(self, numeric: Floats, codes: Codes, layer: FirstLayer, ways: Floats) -> Probabilities:
        """Probabilities of rows in each of several ways to treat them all, [ways, rows]."""
        rows = len(numeric)
        if rows <= BLOCK_ROWS:
            return self._block(numeric, codes, layer, ways)
        blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, rows, BLOCK_ROWS)]
        return np.concatenate([self._block(numeric[block], codes[block], layer, ways) for block in blocks], axis=1)

    def _block(self, numeric: Floats, codes: Codes, layer: FirstLayer, ways: Floats) -> Probabilities:
        units = layer.of(numeric)
        if len(self._sum_categories):
            units += self._sum_categories.dot(self._categories.take(codes + self._first_code, axis=0))
        hidden = (units + ways).reshape(-1, units.shape[1])
        for matrix, bias in self._hidden:
            wave = np.tanh(hidden)
            wave *= hidden
            wave += hidden
            hidden = wave.dot(matrix)
            hidden += bias
        probability: Probabilities = expit(hidden.reshape(len(ways), -1).astype(np.float64))
        return probability


def _layers(weights: Weights, calibration: Calibration) -> list[tuple[Floats, Floats]]:
    """Matrix [inputs, units] and bias of each layer, the head last.

    What enters a SiLU is halved, because `silu(2 h) = h + h tanh(h)` cannot overflow. The head is calibrated.
    """
    names = sorted({name.rpartition(".")[0] for name in weights if name.startswith("network.hidden.")}, key=_number)
    hidden = [(weights[f"{name}.weight"].T / 2, weights[f"{name}.bias"] / 2) for name in names]
    bias = weights["network.head.bias"] / calibration.temperature + calibration.bias
    head = (weights["network.head.weight"].T / calibration.temperature, bias)
    return [(np.ascontiguousarray(matrix, np.float32), bias.astype(np.float32)) for matrix, bias in (*hidden, head)]


def _category_parts(weights: Weights, manifest: Manifest, matrix: Floats) -> tuple[Floats, Places]:
    """What each category adds to the first layer, [categories, units], and where each column's begin, [1, c]."""
    table: Floats = weights["network.categories.table"]
    sizes = manifest.shape.cardinalities
    starts = np.cumsum([0, *sizes], dtype=np.int64)
    if manifest.options.kind == "linear":
        return table / np.float32(manifest.calibration.temperature), starts[None, :-1]
    width = table.shape[1]
    inputs = matrix[len(matrix) - width * len(sizes) :].reshape(len(sizes), width, matrix.shape[1])
    parts = [table[first:end] @ part for first, end, part in zip(starts, starts[1:], inputs, strict=False)]
    nothing = np.empty((0, matrix.shape[1]), dtype=np.float32)
    return np.concatenate([nothing, *parts]), starts[None, :-1]


def _sortable(numbers: Floats) -> npt.NDArray[np.int64]:
    """Integers that sort as the floats do; the two zeros are neighbours."""
    bits = numbers.view(np.int32)
    bits = bits ^ ((bits >> _SIGN) & _BELOW_SIGN)
    return bits.astype(np.int64)


def _number(layer: str) -> int:
    return int(layer.rpartition(".")[2])


# Arrays, because numpy converts a Python number anew each time.
_SIGN = np.array(31, dtype=np.int32)
_BELOW_SIGN = np.array(0x7FFFFFFF, dtype=np.int32)
