"""A fit on several cards, as Kubeflow Trainer's TrainJob: for sets that outgrow one.

Trainer starts torchrun's processes on each node; the processes find each other and share the rows
(`trimtab.models.distributed`). The first one judges the model and writes its bundle to the shared volume.
"""

import re
from dataclasses import dataclass
from typing import Any

from pipelines.options import HOME, OPTIONAL_ENVIRONMENT, REQUIRED_ENVIRONMENT, Options
from trimtab.errors import BadInput

RUNTIME = "torch-distributed"  # which comes with Kubeflow Trainer
_CONTAINER = "node"  # Trainer's name for the container that trains, and for the job of its nodes
_VOLUME = "home"
_SHARED_MEMORY = "1Gi"  # of the processes of a node; a container has 64 MiB, which NCCL outgrows with a few cards
_USER = 10001  # of the images

_DEVICES = {"none": "cpu", "nvidia": "cuda", "gaudi": "hpu"}
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST_POD = 63  # JobSet refuses a job of which a pod, NAME-node-0-INDEX-abcde, would have a longer name


@dataclass(frozen=True, slots=True)
class Fit:
    """What to train, and on how many cards.

    Attributes:
        name: Name of the TrainJob.
        snapshot: The snapshot, with its features computed, on the shared volume.
        nodes: Machines.
        processes: Processes on each machine: one per card, or on CPUs one per core that it is to use.
        namespace: Where the job runs.
        profile: Profile of the job.
        runtime: ClusterTrainingRuntime.
    """

    name: str
    snapshot: str
    nodes: int = 1
    processes: int = 1
    namespace: str = "default"
    profile: str = "cluster"
    runtime: str = RUNTIME

    def __post_init__(self) -> None:
        for name in ("nodes", "processes"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be at least 1.")
        longest = _LONGEST_POD - len(f"-{_CONTAINER}-0-{self.nodes - 1}-abcde")
        if not _NAME.fullmatch(self.name) or len(self.name) > longest:
            raise BadInput(
                f"name '{self.name}' is none that Kubernetes takes.",
                remedy=f"Use lower-case letters, digits and '-', up to {longest}, a letter first.",
            )


def train_job(fit: Fit, options: Options) -> dict[str, Any]:
    """The manifest.

    Args:
        fit: What to train.
        options: Image, card, nodes, Secret and volume, as for tuning workers.

    Raises:
        BadInput: There is no shared volume for the snapshot and the bundle.
    """
    if not options.volume_claim:
        raise BadInput("a TrainJob reads its snapshot from a shared volume.", remedy="Add --volume-claim NAME.")
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {
            "name": fit.name,
            "namespace": fit.namespace,
            "labels": {"app.kubernetes.io/name": "trimtab", "app.kubernetes.io/component": "train"},
        },
        "spec": {
            "runtimeRef": {"name": fit.runtime},
            "trainer": _trainer(fit, options),
            "runtimePatches": [{"manager": "trimtab.dev/train-job", "trainingRuntimeSpec": _patch(options)}],
        },
    }


def _trainer(fit: Fit, options: Options) -> dict[str, Any]:
    bundle = f"{HOME}/train-jobs/{fit.name}"
    trainer: dict[str, Any] = {
        "image": options.worker_image or options.image,
        # Said outright: Trainer counts only cards whose resource has "gpu" in its name.
        "numNodes": fit.nodes,
        "numProcPerNode": fit.processes,
        "command": ["torchrun", "--no-python", "trimtab", "train"],
        "args": [
            f"--snapshot={fit.snapshot}",
            f"--device={_DEVICES[options.accelerator]}",
            f"--out={bundle}",
            f"--profile={fit.profile}",
            "--json",
        ],
        "env": [{"name": name, "value": value} for name, value in options.worker_environment.items()],
    }
    if options.environment_secret:
        trainer["env"] += [_from_secret(options.environment_secret, name) for name in REQUIRED_ENVIRONMENT]
        trainer["env"] += [
            _from_secret(options.environment_secret, name, optional=True) for name in OPTIONAL_ENVIRONMENT
        ]
    if options.card:
        trainer["resourcesPerNode"] = {
            "limits": {options.card: fit.processes},
            "requests": {options.card: fit.processes},
        }
    return trainer


def _patch(options: Options) -> dict[str, Any]:
    """What the runtime's pods get besides: nodes, tolerations, the shared volume, no rights."""
    container = {
        "name": _CONTAINER,
        "volumeMounts": [
            {"name": _VOLUME, "mountPath": HOME},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod: dict[str, Any] = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": _VOLUME, "persistentVolumeClaim": {"claimName": options.volume_claim}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": _SHARED_MEMORY}},
        ],
    }
    if options.node_selector:
        pod["nodeSelector"] = dict(options.node_selector)
    if options.tolerations:
        pod["tolerations"] = [
            {
                "key": toleration.key,
                "effect": toleration.effect,
                **({"operator": "Equal", "value": toleration.value} if toleration.value else {"operator": "Exists"}),
            }
            for toleration in options.tolerations
        ]
    job = {"name": _CONTAINER, "template": {"spec": {"template": {"spec": pod}}}}
    return {"template": {"spec": {"replicatedJobs": [job]}}}


def _from_secret(secret: str, name: str, *, optional: bool = False) -> dict[str, Any]:
    reference = {"name": secret, "key": name, **({"optional": True} if optional else {})}
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}
