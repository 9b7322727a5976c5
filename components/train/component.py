"""The model, fitted with the study's best parameters and judged on held-out sessions."""

from typing import Any

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(*, snapshot_id: str, kind: str, studies: list[Any], seed: int, device: str, profile: str, run: str) -> str:
    """Fit, calibrate and evaluate a model; returns the folder of its bundle."""
    from trimtab import runtime
    from trimtab.steps import results, train

    with runtime.stage(profile, run=run, name="train") as ports:
        config = results.configure(
            train.Config, snapshot_id=snapshot_id, kind=kind, study=studies[0], seed=seed, device=device
        )
        return results.perform(train.run, config, ports, run=run, stage="train").bundle
