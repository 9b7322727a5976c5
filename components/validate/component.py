"""Sessions to a validated, hashed snapshot."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def validate(data: str, spec: str, profile: str, run: str) -> str:
    """Validate sessions, put bad rows in quarantine and keep the rest; returns the snapshot's id."""
    from trimtab import runtime
    from trimtab.steps import results, validate

    with runtime.stage(profile, run=run, name="validate") as ports:
        config = validate.Config(data=data, spec=spec)
        return results.perform(validate.run, config, ports, run=run, stage="validate").snapshot_id
