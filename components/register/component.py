"""A trained model to a registered version, with an alias where it passes the quality gate."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def register(snapshot_id: str, bundle: str, seed: int, profile: str, run: str) -> int:
    """Record and register the bundle; returns the version."""
    from trimtab import runtime
    from trimtab.steps import register, results

    with runtime.stage(profile, run=run, name="register") as ports:
        config = register.Config(snapshot_id=snapshot_id, bundle=bundle, seed=seed, run=run)
        return results.perform(register.run, config, ports, run=run, stage="register").version
