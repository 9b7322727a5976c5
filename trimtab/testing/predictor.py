"""What every `Predictor` must do: subclass the suite and give it its fixtures."""

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput, Unavailable
from trimtab.ports import Predictor
from trimtab.types import Endpoint

ANSWER = {"probability": "float64", "uplift": "float64", "act": "bool", "version": "int64", "history": "object"}


class PredictorContract:
    """The suite.

    Fixtures: `predictor`; `endpoint`, an arm that answers; `silent`, one that does not; `instances`, rows that the
    model can answer, some with a missing number and all with a column `device`.
    """

    def test_answers_each_instance(self, predictor: Predictor, endpoint: Endpoint, instances: pd.DataFrame) -> None:
        """With all that a step reads, of a type that it can compute with."""
        answers = predictor.predict(endpoint, instances)
        assert {name: str(kind) for name, kind in answers.dtypes.items()} == ANSWER
        assert list(answers.index) == list(range(len(instances)))
        assert answers["probability"].between(0, 1).all()
        assert (answers["version"] == endpoint.version).all()

    def test_answers_in_the_order_asked(
        self, predictor: Predictor, endpoint: Endpoint, instances: pd.DataFrame
    ) -> None:
        """Whatever the rows' labels, and one by one as all at once."""
        together = predictor.predict(endpoint, instances)
        assert together["probability"].nunique() > 1
        backwards = predictor.predict(endpoint, instances.iloc[::-1])
        alone = [
            predictor.predict(endpoint, instances.iloc[[row]])["probability"].item() for row in range(len(instances))
        ]
        np.testing.assert_allclose(backwards["probability"][::-1], together["probability"], atol=1e-5)
        np.testing.assert_allclose(alone, together["probability"], atol=1e-5)

    def test_hands_on_what_is_wrong_with_a_request(
        self, predictor: Predictor, endpoint: Endpoint, instances: pd.DataFrame
    ) -> None:
        """The caller's fault is the caller's to mend."""
        with pytest.raises(BadInput, match="device"):
            predictor.predict(endpoint, instances.drop(columns="device"))

    def test_an_arm_that_does_not_answer_is_unavailable(
        self, predictor: Predictor, silent: Endpoint, instances: pd.DataFrame
    ) -> None:
        """It may answer later."""
        with pytest.raises(Unavailable, match=silent.arm):
            predictor.predict(silent, instances)
