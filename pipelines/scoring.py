"""Sessions scored by a registered version. Meant for a schedule."""

from typing import Any

from kfp import dsl

from components.score.component import score
from pipelines.options import Options
from pipelines.placement import place


def scoring(options: Options) -> Any:
    """The scoring pipeline for one way of compiling it."""

    @dsl.pipeline(name="scoring", description="What a model version says about many sessions.")
    def pipeline(  # noqa: PLR0917 - KFP calls it by position; callers name every argument
        run: str,
        data: str,
        model: str,
        out: str,
        reference: str = "champion",
        spec: str = "",
        with_history: bool = True,
        profile: str = "cluster",
    ) -> str:
        """Score a data set; the file appears when all of it is written.

        Args:
            run: Key of the run; results are kept under it.
            data: A Parquet or CSV file, or a folder of Parquet files.
            model: Name of a registered model.
            out: Folder for the scores.
            reference: Alias or number of the version.
            spec: What the columns mean; the spec that the model was trained by where empty.
            with_history: Whether to join each unit's history from the feature store.
            profile: Profile that the task loads.

        Returns:
            The path of the Parquet file.
        """
        scored = score(
            data=data,
            model=model,
            reference=reference,
            out=out,
            spec=spec,
            with_history=with_history,
            profile=profile,
            run=run,
        )
        place(scored, options).set_caching_options(False)
        return scored.output

    return pipeline
