"""What MLflow runs when somebody loads a registered version: the bundle behind MLflow's own predict call.

MLflow copies this file beside the bundle and executes it on load ("models from code"), so no pickle is involved.
"""

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class BundleModel(PythonModel):
    """A model bundle as an MLflow pyfunc."""

    def load_context(self, context: Any) -> None:
        """Load the bundle once per process."""
        from trimtab.models.bundle import ConversionModel

        self.model = ConversionModel.load(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """One row per input row: `probability`, `uplift` (0 where the model knows no action) and `act`."""
        decision = self.model.act(model_input)
        return pd.DataFrame(
            {"probability": decision.probability, "uplift": decision.uplift, "act": decision.act},
            index=model_input.index,
        )


set_model(BundleModel())
