import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.models.split import Split, fold_rows, split_rows
from trimtab.sessions.spec import DatasetSpec
from trimtab.testing.known_truth import make_shop


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _units(rows: int = 1_000) -> tuple[pd.DataFrame, DatasetSpec]:
    rng = _rng()
    frame = pd.DataFrame(
        {"user": rng.integers(0, 200, rows), "lcp": rng.normal(size=rows), "converted": rng.random(rows) < 0.2}
    ).astype({"converted": int})
    columns = {
        "user": {"role": "unit"},
        "lcp": {"role": "kpi", "direction": "lower", "layer": "frontend"},
        "converted": {"role": "label"},
    }
    return frame, DatasetSpec.model_validate({"name": "units", "columns": columns})


def _whole(split: Split) -> list[int]:
    return sorted(np.concatenate([split.train, split.validation, split.test]).tolist())


def test_time_is_respected() -> None:
    shop = make_shop(400)
    shuffled = shop.frame.sample(frac=1, random_state=1).reset_index(drop=True)
    split = split_rows(shuffled, shop.spec, rng=_rng())
    at = shuffled["at"]
    assert at[split.train].max() < at[split.validation].min()
    assert at[split.validation].max() < at[split.test].min()
    assert [len(split.train), len(split.validation), len(split.test)] == [280, 60, 60]
    assert split.ordered_by == "time"


def test_without_time_classes_are_balanced() -> None:
    shop = make_shop(2_000, timed=False)
    split = split_rows(shop.frame, shop.spec, rng=_rng())
    label = shop.frame["converted"].to_numpy()
    assert _whole(split) == list(range(2_000))
    assert len(split.train) == pytest.approx(1_400, abs=2)
    for part in (split.train, split.validation, split.test):
        assert label[part].mean() == pytest.approx(label.mean(), abs=0.005)


def test_a_units_rows_stay_together() -> None:
    frame, spec = _units()
    split = split_rows(frame, spec, rng=_rng())
    users = [set(frame["user"].iloc[part]) for part in (split.train, split.validation, split.test)]
    assert users[0].isdisjoint(users[1] | users[2])
    assert users[1].isdisjoint(users[2])
    assert _whole(split) == list(range(1_000))
    assert len(split.train) == pytest.approx(700, abs=60)
    assert split.ordered_by == "unit"


def test_folds_test_every_row_once() -> None:
    frame, spec = _units()
    splits = fold_rows(frame, spec, folds=4, rng=_rng())
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(1_000))
    for split in splits:
        assert _whole(split) == list(range(1_000))
        assert not set(frame["user"].iloc[split.test]) & set(frame["user"].iloc[split.train])


def test_folds_by_time_only_look_back() -> None:
    shop = make_shop(600)
    splits = fold_rows(shop.frame, shop.spec, folds=3, rng=_rng())
    at = shop.frame["at"]
    assert len(splits) == 3
    for split in splits:
        assert at[split.train].max() < at[split.validation].min() < at[split.test].min()


def test_one_class_in_a_part_is_refused() -> None:
    shop = make_shop(200)
    frame = shop.frame.assign(converted=[1] * 150 + [0] * 50)
    with pytest.raises(BadInput, match="only one class"):
        split_rows(frame, shop.spec, rng=_rng())
    with pytest.raises(BadInput, match="folds"):
        fold_rows(frame, shop.spec, folds=1, rng=_rng())
