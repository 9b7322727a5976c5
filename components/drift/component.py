"""Whether new sessions differ from the snapshot that a model was trained on."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def drift(snapshot_id: str, data: str, spec: str, profile: str, run: str) -> bool:
    """Compare the sessions with the snapshot, the champion's where none is named; returns whether to retrain."""
    from trimtab import runtime
    from trimtab.steps import drift, results

    with runtime.stage(profile, run=run, name="drift") as ports:
        config = drift.Config(snapshot_id=snapshot_id, data=data, spec=spec)
        return results.perform(drift.run, config, ports, run=run, stage="drift").action == "retrain"
