"""New sessions held against what the champion was trained on, and training where they drifted. Meant for a schedule."""

from typing import Any

from kfp import dsl

from components.drift.component import drift
from pipelines.options import Options
from pipelines.placement import place
from pipelines.training import training


def monitoring(options: Options) -> Any:
    """The monitoring pipeline for one way of compiling it."""
    retrain = training(options)

    @dsl.pipeline(name="monitoring", description="Retrains where new sessions drifted.")
    def pipeline(  # noqa: PLR0917 - KFP calls it by position; callers name every argument
        run: str,
        data: str,
        spec: str,
        snapshot_id: str = "",
        trials: int = 12,
        seed: int = 7,
        device: str = "auto",
        profile: str = "cluster",
    ) -> bool:
        """Retrain where new sessions drifted; a retrained version becomes a challenger, never champion by itself.

        Args:
            run: Key of the run; results are kept under it.
            data: File with new sessions.
            spec: Dataset spec: a file or the name of a shipped one.
            snapshot_id: What they are held against; what the champion was trained on where empty.
            trials: Tuning trials over all workers; 0 trains with the defaults.
            seed: Seed of everything random.
            device: `auto`, `cpu`, `cuda` or `hpu`.
            profile: Profile that the tasks load.

        Returns:
            Whether it retrained.
        """
        found = drift(snapshot_id=snapshot_id, data=data, spec=spec, profile=profile, run=run)
        place(found, options).set_caching_options(False)
        with dsl.If(found.output == True, name="drifted"):  # noqa: E712 - KFP builds a condition from it
            retrain(
                run=run, data=data, spec=spec, trials=trials, seed=seed, device=device, profile=profile
            ).set_caching_options(False)
        return found.output

    return pipeline
