import math

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.models.encode import UNKNOWN, Encoder, category_text, hide_codes, learn_encoder
from trimtab.sessions.inputs import ModelInputs
from trimtab.testing.known_truth import as_requests

INPUTS = ModelInputs(
    numeric=("lcp_ms", "prior_sessions", "prior_conversion_rate"),
    categorical=("device", "region"),
    history=("prior_sessions", "prior_conversion_rate"),
    treatment="lighter_page",
)


def _frame(rows: int = 60) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "lcp_ms": np.linspace(500, 5_000, rows),
            "prior_sessions": np.arange(rows) % 3,
            "prior_conversion_rate": [math.nan if row % 3 == 0 else 0.5 for row in range(rows)],
            "device": (["mobile", "desktop"] * rows)[:rows],
            "region": ([1, 2, 3] * rows)[:rows],
            "lighter_page": 1,
        }
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return learn_encoder(_frame(), INPUTS)


def test_rows_and_frames_encode_alike(encoder: Encoder) -> None:
    frame = _frame(7)
    frame.loc[0, "lcp_ms"] = np.nan
    frame.loc[1, "device"] = None
    frame.loc[2, "device"] = "watch"
    numeric, codes = encoder.encode(frame)
    rows = as_requests(frame)
    by_row = encoder.encode_rows(rows)
    np.testing.assert_array_equal(numeric, by_row[0])
    np.testing.assert_array_equal(codes, by_row[1])
    assert np.isnan(numeric[0, 0])
    assert codes[2, 0] == UNKNOWN


def test_absent_history_is_that_of_a_unit_never_seen(encoder: Encoder) -> None:
    frame = _frame(3).drop(columns=list(INPUTS.history))
    numeric, _ = encoder.encode(frame)
    assert (numeric[:, 1] == 0).all()
    assert np.isnan(numeric[:, 2]).all()
    rows = as_requests(frame)
    np.testing.assert_array_equal(encoder.encode_rows(rows)[0], numeric)


def test_missing_history_values_take_the_default_too(encoder: Encoder) -> None:
    frame = _frame(3).astype({"prior_sessions": float})
    frame["prior_sessions"] = np.nan
    assert (encoder.encode(frame)[0][:, 1] == 0).all()


def test_treatment_is_the_last_column_and_can_be_set(encoder: Encoder) -> None:
    frame = _frame(2)
    assert encoder.numeric[-1] == "lighter_page"
    assert (encoder.encode(frame)[0][:, -1] == 1).all()
    assert (encoder.encode(frame, treatment=0)[0][:, -1] == 0).all()
    assert (encoder.encode(frame.drop(columns="lighter_page"))[0][:, -1] == 0).all()
    assert (encoder.encode_rows(as_requests(frame), treatment=0)[0][:, -1] == 0).all()


def test_one_category_has_one_code_however_it_is_written(encoder: Encoder) -> None:
    codes = [
        encoder.encode(_frame(1).assign(region=pd.Series([value], dtype=object)))[1][0, 1] for value in (1, 1.0, "1")
    ]
    assert codes[0] != UNKNOWN
    assert len(set(codes)) == 1
    assert category_text(np.float64("nan")) == category_text(None) == category_text(pd.NA) == ""


def test_rare_categories_share_the_unknown_bucket() -> None:
    frame = _frame()
    frame.loc[:4, "device"] = "fridge"
    learned = learn_encoder(frame, INPUTS)
    assert "fridge" not in learned.vocabularies["device"]
    assert learned.encode(frame)[1][0, 0] == UNKNOWN


def test_an_absent_input_is_named(encoder: Encoder) -> None:
    with pytest.raises(BadInput, match="device"):
        encoder.encode(_frame(2).drop(columns="device"))
    with pytest.raises(BadInput, match="lcp_ms"):
        encoder.encode_rows([{"device": "mobile", "region": 1}])


def test_text_in_a_number_is_named(encoder: Encoder) -> None:
    with pytest.raises(BadInput, match="lcp_ms"):
        encoder.encode(_frame(2).assign(lcp_ms="fast"))
    with pytest.raises(BadInput, match="lcp_ms"):
        encoder.encode_rows([{"lcp_ms": "fast", "device": "mobile", "region": 1}])


def test_hiding_reaches_a_small_share() -> None:
    codes = np.ones((10_000, 2), dtype=np.int64)
    hidden = hide_codes(codes, np.random.default_rng(0), share=0.01)
    assert 0.005 < (hidden == UNKNOWN).mean() < 0.015
    assert (codes == 1).all()


def test_a_truth_value_is_the_category_that_validation_made_of_it() -> None:
    learned = learn_encoder(_frame().assign(device=["true", "false"] * 30), INPUTS)
    asked = _frame(2).assign(device=[True, False])
    _, codes = learned.encode(asked)
    np.testing.assert_array_equal(codes[:, 0], learned.encode(asked.assign(device=["true", "false"]))[1][:, 0])
    assert UNKNOWN not in codes[:, 0]
    np.testing.assert_array_equal(codes, learned.encode_rows(as_requests(asked))[1])
