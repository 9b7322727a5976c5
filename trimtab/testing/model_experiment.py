"""A small ModelExperiment, for tests of whatever reads, writes or drives one."""

from typing import Any


def model_experiment(name: str = "checkout", *, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """The resource as a person applies it.

    Args:
        name: Its name.
        namespace: Its namespace.
        spec: Fields of the specification that are other than usual.
    """
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelExperiment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": "shop",
            "plannedUnits": 4_000,
            "windowHours": 1,
            "ramp": [{"weight": 0.5}],
            "leadSeconds": 0,
            "timeoutMs": 1,
            "experiment": {"metrics": {"conversion": {"kind": "binary", "column": "conversion"}}},
            **spec,
        },
    }
