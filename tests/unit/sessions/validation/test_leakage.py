import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from trimtab.sessions.validation.leakage import auc, column_auc

RNG = np.random.default_rng(5)
LABEL = pd.Series((RNG.random(4_000) < 0.2).astype(int))
NOISE = pd.Series(RNG.normal(size=4_000))


def test_auc_is_that_of_scikit_learn_with_ties() -> None:
    scores = (NOISE + LABEL).round(1).to_numpy()
    assert auc(scores, LABEL.to_numpy(dtype=bool)) == pytest.approx(roc_auc_score(LABEL, scores), abs=1e-12)


def test_direction_does_not_matter() -> None:
    assert column_auc(NOISE + 2 * LABEL, LABEL) == pytest.approx(column_auc(-NOISE - 2 * LABEL, LABEL), abs=0.01)


@pytest.mark.parametrize(
    "column",
    [
        LABEL * 1.0,
        1.0 - LABEL,
        pd.Series(np.where(LABEL == 1, NOISE, np.nan)),  # filled in only after a purchase
        pd.Series(np.where(LABEL == 1, 0.0, np.sign(NOISE))),  # not monotone
        pd.Series(np.where(LABEL == 1, "paid", "open")),
        LABEL.map({1: "paid", 0: None}),
    ],
)
def test_a_copy_of_the_label_scores_one(column: pd.Series) -> None:
    assert column_auc(column, LABEL) > 0.999


@pytest.mark.parametrize(
    "column",
    [
        NOISE,
        pd.Series([f"id-{number}" for number in range(4_000)]),
        pd.Series(RNG.choice(list("abc"), 4_000)),
        pd.Series(np.full(4_000, np.nan)),
    ],
)
def test_what_says_nothing_scores_one_half(column: pd.Series) -> None:
    assert column_auc(column, LABEL) < 0.55


def test_no_answer_where_all_labels_are_equal() -> None:
    assert column_auc(NOISE, LABEL * 0) == 0.5
