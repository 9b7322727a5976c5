from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from trimtab.errors import BadInput, NotFound
from trimtab.models.bundle import WEIGHTS, ConversionModel
from trimtab.models.data import TrainingData, prepare
from trimtab.models.devices import place
from trimtab.models.manifest import LEAN_WEIGHTS, MANIFEST
from trimtab.models.recipe import Recipe
from trimtab.models.split import split_rows
from trimtab.models.trainer import train_model
from trimtab.testing.known_truth import Shop, as_requests, make_shop

QUICK = Recipe().updated({"epochs": 4, "batch_size": 128, "width": 32})


@pytest.fixture(scope="module", params=["plr_mlp", "logistic"])
def model(request: pytest.FixtureRequest, shop: Shop, data: TrainingData) -> ConversionModel:
    rng = np.random.default_rng(0)
    placement = place("cpu")
    return train_model(
        data, shop.spec, kind=request.param, recipe=QUICK, placement=placement, rng=rng, notes={"seed": "0"}
    ).model


@pytest.fixture
def frame(shop: Shop) -> pd.DataFrame:
    return shop.frame.tail(200)


def test_a_saved_model_answers_as_before(model: ConversionModel, frame: pd.DataFrame, tmp_path: Path) -> None:
    loaded = ConversionModel.load(model.save(tmp_path / "bundle"))
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    assert loaded.manifest == model.manifest
    assert (loaded.name, loaded.kind, loaded.inputs) == (model.name, model.kind, model.inputs)


def test_one_request_answers_as_the_whole_frame(model: ConversionModel, frame: pd.DataFrame) -> None:
    whole = model.predict(frame)
    rows = as_requests(frame)
    single = [float(model.forward_arrays(*model.encode_rows([row]))[0]) for row in rows[:20]]
    np.testing.assert_allclose(single, whole[:20], rtol=1e-5)
    np.testing.assert_allclose(model.predict(frame.iloc[3:4]), whole[3:4], rtol=1e-5)


def test_probabilities_are_probabilities_and_carry_signal(
    model: ConversionModel,
    frame: pd.DataFrame,
    shop: Shop,
) -> None:
    probability = model.predict(frame)
    assert probability.shape == (200,)
    assert ((probability > 0) & (probability < 1)).all()
    assert np.corrcoef(probability, shop.truth[-200:])[0, 1] > 0.5
    assert len(model.predict(frame.iloc[:0])) == 0


def test_it_acts_where_the_uplift_pays(model: ConversionModel, frame: pd.DataFrame) -> None:
    actions = model.act(frame)
    np.testing.assert_array_equal(actions.probability, model.predict(frame, treatment=0))
    np.testing.assert_allclose(
        actions.uplift, model.predict(frame, treatment=1) - model.predict(frame, treatment=0), atol=1e-7
    )
    np.testing.assert_array_equal(actions.act, actions.uplift > 0)


def test_without_a_treatment_it_acts_at_the_threshold() -> None:
    shop = make_shop(600)
    columns = {name: column for name, column in shop.spec.columns.items() if name != "lighter_page"}
    plain = shop.spec.model_copy(update={"columns": columns})
    frame = shop.frame.drop(columns="lighter_page")
    prepared = prepare(frame, plain, split_rows(frame, plain, rng=np.random.default_rng(0)))
    rng = np.random.default_rng(0)
    model = train_model(prepared, plain, kind="logistic", recipe=QUICK, placement=place("cpu"), rng=rng).model
    actions = model.act(shop.frame)
    assert (actions.uplift == 0).all()
    np.testing.assert_array_equal(actions.act, actions.probability >= model.threshold)


def test_saving_replaces_and_leaves_no_litter(model: ConversionModel, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "bundle")
    (folder / "stale").write_text("old")
    model.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, LEAN_WEIGHTS, WEIGHTS]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_save_leaves_the_old_model(
    model: ConversionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model.save(tmp_path / "bundle")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        model.save(folder)
    assert ConversionModel.load(folder).kind == model.kind
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_nothing_there_and_nonsense_are_told_apart(model: ConversionModel, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        ConversionModel.load(tmp_path)
    folder = model.save(tmp_path / "bundle")
    (folder / WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(BadInput, match="cannot be read"):
        ConversionModel.load(folder)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(BadInput, match="cannot be read"):
        ConversionModel.load(folder)


def test_weights_that_would_run_code_are_refused(model: ConversionModel, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "bundle")
    torch.save({"preprocessor": Path("x"), "network": print}, folder / WEIGHTS)
    with pytest.raises(BadInput, match="cannot be read"):
        ConversionModel.load(folder)
