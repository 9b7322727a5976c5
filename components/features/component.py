"""Each unit's history as of just before each session, joined point in time."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def features(snapshot_id: str, profile: str, run: str) -> str:
    """Write the snapshot's training frame; returns the snapshot's id."""
    from trimtab import runtime
    from trimtab.steps import features, results

    with runtime.stage(profile, run=run, name="features") as ports:
        config = features.Config(snapshot_id=snapshot_id)
        return results.perform(features.run, config, ports, run=run, stage="features").snapshot_id
