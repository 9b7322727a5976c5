"""Which KPI is worth improving: each one improved alone, on held-out sessions."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def impact(*, snapshot_id: str, bundle: str, seed: int, truth: str, profile: str, run: str) -> None:
    """Rank the controllable KPIs; held against the simulator's truth where `truth` names its file."""
    from trimtab import runtime
    from trimtab.steps import impact, results

    with runtime.stage(profile, run=run, name="impact") as ports:
        config = impact.Config(snapshot_id=snapshot_id, bundle=bundle, seed=seed, truth=truth)
        results.perform(impact.run, config, ports, run=run, stage="impact")
