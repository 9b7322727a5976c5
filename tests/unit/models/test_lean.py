import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from trimtab.errors import BadInput, NotFound
from trimtab.models.bundle import ConversionModel
from trimtab.models.data import TrainingData
from trimtab.models.devices import place
from trimtab.models.lean import BLOCK_ROWS, LeanModel
from trimtab.models.manifest import LEAN_WEIGHTS, MANIFEST
from trimtab.models.recipe import Recipe
from trimtab.models.trainer import train_model
from trimtab.testing.known_truth import Shop

QUICK = Recipe().updated({"epochs": 4, "batch_size": 128, "width": 32, "dropout": 0.2})

ANSWER_WITHOUT_TORCH = """
import sys
from pathlib import Path
import numpy as np
from trimtab.models.lean import LeanModel

model = LeanModel.load(Path(sys.argv[1]))
answer = model.act_arrays(np.full((1, len(model.manifest.encoder.numeric)), np.nan, dtype=np.float32), np.zeros((1, 1), dtype=np.int64))
assert "torch" not in sys.modules
print(answer.probability[0])
"""  # noqa: E501


@pytest.fixture(scope="module", params=["plr_mlp", "logistic"])
def model(request: pytest.FixtureRequest, shop: Shop, data: TrainingData) -> ConversionModel:
    rng = np.random.default_rng(0)
    return train_model(data, shop.spec, kind=request.param, recipe=QUICK, placement=place("cpu"), rng=rng).model


def test_a_trained_model_answers_as_the_network_however_many_rows(model: ConversionModel, shop: Shop) -> None:
    numeric, codes = model.encode(shop.frame)
    lean = LeanModel.of(model)
    for rows in (1, 2, BLOCK_ROWS, BLOCK_ROWS + 1, len(numeric)):
        ours, theirs = (answers.act_arrays(numeric[:rows], codes[:rows]) for answers in (lean, model))
        np.testing.assert_allclose(ours.probability, theirs.probability, atol=1e-6, rtol=0)
        np.testing.assert_allclose(ours.uplift, theirs.uplift, atol=1e-6, rtol=0)
        clear = np.abs(theirs.uplift - model.manifest.action_cost) > 1e-6
        np.testing.assert_array_equal(ours.act[clear], theirs.act[clear])
    given = lean.forward_arrays(numeric, codes)
    np.testing.assert_allclose(given, model.forward_arrays(numeric, codes), atol=1e-6, rtol=0)


def test_it_leaves_its_arguments_alone(model: ConversionModel, shop: Shop) -> None:
    numeric, codes = model.encode(shop.frame.head(5))
    before = numeric.copy(), codes.copy()
    lean = LeanModel.of(model)
    first, second = (lean.act_arrays(numeric, codes) for _ in range(2))
    np.testing.assert_array_equal(first.probability, second.probability)
    np.testing.assert_array_equal(numeric, before[0])
    np.testing.assert_array_equal(codes, before[1])


def test_a_bundle_is_read_and_answers_without_torch(model: ConversionModel, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "bundle")
    command = [sys.executable, "-c", ANSWER_WITHOUT_TORCH, str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    numeric = np.full((1, len(model.manifest.encoder.numeric)), np.nan, dtype=np.float32)
    expected = model.act_arrays(numeric, np.zeros((1, 1), dtype=np.int64)).probability[0]
    assert float(said) == pytest.approx(expected, abs=1e-6)


def test_a_bundle_of_an_older_version_is_read_through_torch(model: ConversionModel, shop: Shop, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "bundle")
    encoded = model.encode(shop.frame.head(20))
    expected = LeanModel.load(folder).act_arrays(*encoded)
    (folder / LEAN_WEIGHTS).unlink()
    np.testing.assert_array_equal(LeanModel.load(folder).act_arrays(*encoded).probability, expected.probability)


def test_nothing_there_and_nonsense_are_told_apart(model: ConversionModel, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        LeanModel.load(tmp_path)
    folder = model.save(tmp_path / "bundle")
    whole = (folder / LEAN_WEIGHTS).read_bytes()
    for broken in (b"", b"nonsense", whole[: len(whole) // 2]):
        (folder / LEAN_WEIGHTS).write_bytes(broken)
        with pytest.raises(BadInput, match="cannot be read"):
            LeanModel.load(folder)
    for tensors in ({}, {name: value[:1] for name, value in model.weights().items()}):
        np.savez(folder / LEAN_WEIGHTS, allow_pickle=False, **tensors)
        with pytest.raises(BadInput, match="cannot be read"):
            LeanModel.load(folder)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(BadInput, match="cannot be read"):
        LeanModel.load(folder)


def test_no_number_is_large_enough_to_warn(model: ConversionModel) -> None:
    largest = np.finfo(np.float32).max
    numeric = np.full((2, len(model.manifest.encoder.numeric)), [[largest], [-largest]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probability = LeanModel.of(model).act_arrays(numeric, np.zeros((2, 1), dtype=np.int64)).probability
    assert ((probability > 0) & (probability < 1)).all()
