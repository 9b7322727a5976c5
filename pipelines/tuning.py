"""Workers that share one tuning study.

A pipeline of its own, nested in the training pipeline, because `kfp.local` hands the loop's item to every input of a
looped task that comes straight from an earlier task; a nested pipeline's parameters it hands on as they are.
"""

from typing import Any

from kfp import dsl

from components.tune.component import tune
from pipelines.options import Options
from pipelines.placement import place_worker


def tuning(options: Options) -> Any:
    """The tuning pipeline for one way of compiling it."""

    @dsl.pipeline(name="tuning")
    def pipeline(  # noqa: PLR0917 - KFP calls it by position; callers name every argument
        snapshot_id: str, trials: int, study: str, seed: int, device: str, profile: str, run: str
    ) -> list[Any]:
        """Each worker's name of the study, which is the same for all."""
        with dsl.ParallelFor(items=list(range(options.workers)), name="workers") as worker:
            searched = tune(
                snapshot_id=snapshot_id,
                trials=trials,
                study=study,
                worker=worker,
                workers=options.workers,
                seed=seed,
                device=device,
                profile=profile,
                run=run,
            )
            place_worker(searched, options).set_caching_options(False)
        return dsl.Collected(searched.output)

    return pipeline
