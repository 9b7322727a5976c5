"""A simple first champion, where the model has none yet."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def first_champion(snapshot_id: str, seed: int, profile: str, run: str) -> int:
    """Register a logistic regression unless there is a champion; returns the champion's version."""
    from trimtab import runtime
    from trimtab.steps import first_champion, results

    with runtime.stage(profile, run=run, name="first_champion") as ports:
        config = first_champion.Config(snapshot_id=snapshot_id, seed=seed, run=run)
        return results.perform(first_champion.run, config, ports, run=run, stage="first_champion").version
