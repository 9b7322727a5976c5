"""A trained model to a registered version, with an alias where it passes the quality gate."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(snapshot_id: str, bundle: str, seed: int, profile: str, run: str) -> int:
    """Register what the train stage of this run left; returns the version."""
    from trimtab import runtime
    from trimtab.steps import register, results

    with runtime.stage(profile, run=run, name="register") as ports:
        trained = results.recall(register.Trained, ports, run=run, stage="train").result
        config = register.Config(snapshot_id, bundle, trained.evaluation, seed=seed, run=run, params=trained.params)
        return results.perform(register.run, config, ports, run=run, stage="register").version
