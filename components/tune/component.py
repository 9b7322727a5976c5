"""One worker of a tuning study that all workers share."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def tune(
    *,
    snapshot_id: str,
    trials: int,
    study: str,
    worker: int,
    workers: int,
    seed: int,
    device: str,
    profile: str,
    run: str,
) -> str:
    """Run this worker's share of the trials; returns the study's name, or `study` as it is where it has no share."""
    from trimtab import runtime
    from trimtab.steps import results, tune

    if worker >= trials:  # fewer trials than workers, or none: the first workers have them
        return study
    with runtime.stage(profile, run=run, name="tune") as ports:
        config = results.configure(
            tune.Config,
            snapshot_id=snapshot_id,
            trials=trials,
            worker=worker,
            workers=workers,
            seed=seed,
            device=device,
        )
        stage = "tune" if worker == 0 else f"tune-{worker}"
        return results.perform(tune.run, config, ports, run=run, stage=stage).study
