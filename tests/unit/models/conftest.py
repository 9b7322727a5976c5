import numpy as np
import pytest

from trimtab.models.data import TrainingData, prepare
from trimtab.models.split import split_rows
from trimtab.testing.known_truth import Shop, make_shop


@pytest.fixture(scope="session")
def shop() -> Shop:
    return make_shop()


@pytest.fixture(scope="session")
def data(shop: Shop) -> TrainingData:
    return prepare(shop.frame, shop.spec, split_rows(shop.frame, shop.spec, rng=np.random.default_rng(0)))
