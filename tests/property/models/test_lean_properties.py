"""The lean model says what the network says, whatever its architecture and its rows."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.models.architecture import InputShape, NetworkOptions
from trimtab.models.bundle import ConversionModel
from trimtab.models.calibrate import Calibration
from trimtab.models.encode import Codes, Encoder, Floats
from trimtab.models.lean import LeanModel
from trimtab.models.manifest import Manifest
from trimtab.models.networks import build_network
from trimtab.models.preprocess import learn_preprocessor
from trimtab.sessions.inputs import ModelInputs

options = st.builds(
    NetworkOptions,
    kind=st.sampled_from(["plr_mlp", "plr_mlp", "linear"]),
    width=st.sampled_from([1, 8, 32]),
    depth=st.integers(1, 3),
    dropout=st.sampled_from([0.0, 0.3]),
    frequencies=st.integers(1, 5),
    frequency_scale=st.sampled_from([0.02, 0.1, 0.4]),
    embedding=st.integers(1, 4),
    category_embedding=st.integers(1, 4),
)
EXTREMES = np.array([0.0, -0.0, 1e-45, -1e-30, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan], dtype=np.float32)


def _rows(count: int, columns: int, *, missing: float, treated: bool, rng: np.random.Generator) -> Floats:
    """Skewed, signed, constant and counted columns by turns, some without some of their values."""
    kinds = [
        rng.gamma(0.5, 1e3, (count, columns)),
        rng.normal(size=(count, columns)),
        np.ones((count, columns)),
        rng.poisson(0.4, (count, columns)),
    ]
    numeric = np.choose(np.arange(columns) % 4, kinds).astype(np.float32)
    numeric[(rng.random(numeric.shape) < missing) & (rng.random(columns) < 0.5)] = np.nan
    return np.column_stack([numeric, rng.integers(0, 2, count)]).astype(np.float32) if treated else numeric


def _model(
    learned_from: Floats, sizes: tuple[int, ...], architecture: NetworkOptions, *, treated: bool, knots: int
) -> ConversionModel:
    preprocessor = learn_preprocessor(learned_from, knots=knots)
    shape = InputShape(learned_from.shape[1], len(preprocessor.flagged), sizes)
    names = tuple(f"kpi_{place}" for place in range(shape.numeric - treated))
    vocabularies = {f"category_{place}": tuple(map(str, range(size - 1))) for place, size in enumerate(sizes)}
    inputs = ModelInputs(names, tuple(vocabularies), (), "treated" if treated else None)
    manifest = Manifest(
        name="drawn",
        kind="logistic" if architecture.kind == "linear" else "plr_mlp",
        encoder=Encoder(inputs, vocabularies, {}),
        shape=shape,
        options=architecture,
        knots=knots,
        calibration=Calibration(1.3, -0.2),
        threshold=0.4,
        action_cost=0.001,
        notes={},
    )
    return ConversionModel(manifest, preprocessor, build_network(shape, architecture))


def _assert_equal(model: ConversionModel, numeric: Floats, codes: Codes) -> None:
    lean = LeanModel.of(model)
    np.testing.assert_allclose(
        lean.forward_arrays(numeric, codes), model.forward_arrays(numeric, codes), rtol=0, atol=1e-6
    )
    ours, theirs = lean.act_arrays(numeric, codes), model.act_arrays(numeric, codes)
    np.testing.assert_allclose(ours.probability, theirs.probability, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.uplift, theirs.uplift, rtol=0, atol=1e-6)
    decided = theirs.uplift - model.manifest.action_cost if model.inputs.treatment else theirs.probability - 0.4
    clear = np.abs(decided) > 1e-6
    np.testing.assert_array_equal(ours.act[clear], theirs.act[clear])


@settings(deadline=None, max_examples=60)
@given(
    architecture=options,
    columns=st.integers(1, 6),
    sizes=st.lists(st.integers(1, 5), max_size=3).map(tuple),
    treated=st.booleans(),
    missing=st.sampled_from([0.0, 0.2, 1.0]),
    knots=st.sampled_from([3, 16, 128]),
    seed=st.integers(0, 2**16),
)
def test_answers_as_the_network_does(
    *,
    architecture: NetworkOptions,
    columns: int,
    sizes: tuple[int, ...],
    treated: bool,
    missing: float,
    knots: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    learned_from = _rows(300, columns, missing=missing, treated=treated, rng=rng)
    model = _model(learned_from, sizes, architecture, treated=treated, knots=knots)
    numeric = _rows(40, columns, missing=0.3, treated=treated, rng=rng)
    numeric[20:30, :columns] = rng.choice(EXTREMES, (10, columns))
    numeric[30:, :columns] = learned_from[:10, :columns]  # exactly at knots
    codes = np.column_stack([np.empty((40, 0), dtype=np.int64), *(rng.integers(0, size, 40) for size in sizes)])
    for rows in (0, 1, 40):
        _assert_equal(model, numeric[:rows], codes[:rows].astype(np.int64))
