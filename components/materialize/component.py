"""Each unit's latest history, loaded into the online store."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def materialize(snapshot_id: str, profile: str, run: str) -> int:
    """Load the online store; returns the number of units."""
    from trimtab import runtime
    from trimtab.steps import materialize, results

    with runtime.stage(profile, run=run, name="materialize") as ports:
        config = materialize.Config(snapshot_id=snapshot_id)
        return results.perform(materialize.run, config, ports, run=run, stage="materialize").units
