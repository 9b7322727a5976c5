"""Sessions to a registered model version. Retraining is this pipeline on newer sessions.

Caching is off for every task. None is a function of its parameters alone: a study, a model or a version must be made
anew even when the parameters are those of an earlier run, a data file may change under one name, and `features` points
the feature store at the snapshot that `materialize` then loads. Each keeps its result under the run, for the report.
"""

from typing import Any

from kfp import dsl

from components.features.component import features
from components.first_champion.component import first_champion
from components.impact.component import impact
from components.materialize.component import materialize
from components.register.component import register
from components.train.component import train
from components.validate.component import validate
from pipelines.options import Options
from pipelines.placement import place
from pipelines.tuning import tuning


def training(options: Options) -> Any:
    """The training pipeline for one way of compiling it."""
    search = tuning(options)

    @dsl.pipeline(name="training", description="Sessions to a registered model version.")
    def pipeline(  # noqa: PLR0917 - KFP calls it by position; callers name every argument
        run: str,
        data: str,
        spec: str = "ux_sessions",
        kind: str = "plr_mlp",
        trials: int = 12,
        study: str = "",
        seed: int = 7,
        device: str = "auto",
        truth: str = "",
        profile: str = "cluster",
    ) -> int:
        """Sessions to a registered model version.

        Args:
            run: Key of the run; results are kept under it.
            data: File with the sessions.
            spec: Dataset spec: a file or the name of a shipped one.
            kind: Model: `plr_mlp`, or `logistic` for a simple first champion.
            trials: Tuning trials over all workers; 0 searches nothing.
            study: Earlier study whose best parameters to use where `trials` is 0; empty for the defaults.
            seed: Seed of everything random.
            device: `auto`, `cpu`, `cuda` or `hpu`.
            truth: The simulator's truth file; empty where there is none.
            profile: Profile that the tasks load.

        Returns:
            The registered version.
        """
        where = {"profile": profile, "run": run}
        snapshot = place(validate(data=data, spec=spec, **where), options).set_caching_options(False)
        ready = place(features(snapshot_id=snapshot.output, **where), options).set_caching_options(False)
        place(materialize(snapshot_id=ready.output, **where), options).set_caching_options(False)
        studies = search(snapshot_id=ready.output, trials=trials, study=study, seed=seed, device=device, **where)
        studies.set_caching_options(False)
        champion = place(first_champion(snapshot_id=ready.output, seed=seed, **where), options)
        champion.set_caching_options(False)
        model = train(
            snapshot_id=ready.output,
            kind=kind,
            studies=studies.output,
            seed=seed,
            device=device,
            **where,
        )
        place(model, options).set_caching_options(False).after(champion)
        version = register(snapshot_id=ready.output, bundle=model.output, seed=seed, **where)
        place(version, options).set_caching_options(False)
        worth = impact(snapshot_id=ready.output, bundle=model.output, seed=seed, truth=truth, **where)
        place(worth, options).set_caching_options(False).after(version)
        return version.output

    return pipeline
