"""Answers for many sessions at once, as a file."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def score(
    *, data: str, model: str, reference: str, out: str, spec: str, with_history: bool, profile: str, run: str
) -> str:
    """Score sessions with a registered version; returns the path of the Parquet file."""
    from trimtab import runtime
    from trimtab.steps import results, score

    with runtime.stage(profile, run=run, name="score") as ports:
        config = score.Config(
            data=data, model=model, reference=reference, out=out, spec=spec, with_history=with_history
        )
        return results.perform(score.run, config, ports, run=run, stage="score").scores
