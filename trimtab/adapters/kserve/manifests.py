"""InferenceServices as pure functions: what is asked of KServe for an arm, and for a canary without users' arms.

The predictor is a container of our own, whose bundle KServe's storage initialiser fetches to `/mnt/models`. The
bundle's URI is given by the variable `STORAGE_URI`: KServe leaves `storageUris` out of canaries. What a pod is made of
is hashed into a label of the pod, which is how the deployer tells whether a status speaks of this manifest or of the
one before.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from math import ceil
from typing import Any

from trimtab.adapters.kubernetes import serialise
from trimtab.errors import BadInput
from trimtab.profile import KserveDeployer
from trimtab.types import ModelVersion

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kserve
    from kserve.models import V1beta1CanarySpec
    from kubernetes import client

API_VERSION = "serving.kserve.io/v1beta1"
MODEL, ARM, VERSION, ROLLOUT = "trimtab.dev/model", "trimtab.dev/arm", "trimtab.dev/version", "trimtab.dev/rollout"
POD = "trimtab.dev/pod"  # hash of what the pod is made of
MODE = "serving.kserve.io/deploymentMode"
TAGS = "serving.kserve.io/enable-tag-routing"
# Arms are the router's alone: without these an arm is reachable from outside, past the router and its event log.
_INSIDE = {"networking.kserve.io/visibility": "cluster-local", "networking.knative.dev/visibility": "cluster-local"}
CONTAINER = "kserve-container"  # KServe looks for the storage's URI in the container of this name
MOUNT = "/mnt/models"
PORT = 8080

_STORES = ("s3", "gs", "pvc", "hdfs", "webhdfs", "http", "https", "hf", "oci")
# "-predictor-00001" and the hash of a ReplicaSet's pod have to fit into the 63 characters of a DNS label after it.
_NAME_LENGTH = 40
_DRAIN_SECONDS, _GRACE_SECONDS = 5, 45
Body = dict[str, Any]


def service_name(model: str, arm: str = "") -> str:
    """Name of an arm's InferenceService, as RFC 1123 and KServe want it; names that had to be changed end in a hash.

    >>> service_name("shop", "control")
    'shop-control'
    >>> service_name("Shop_2", "control")
    'shop-2-control-323238'
    """
    plain = f"{model}-{arm}" if arm else model
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    name = name if name[:1].isalpha() else f"m-{name}"
    # A hyphen in the last part could as well be the one between model and arm.
    if name == plain and "-" not in (arm or model) and len(name) <= _NAME_LENGTH:
        return name
    digest = hashlib.sha256(f"{model}\0{arm}".encode()).hexdigest()[:6]
    return f"{name[: _NAME_LENGTH - 7].rstrip('-')}-{digest}"


def owner_labels(settings: KserveDeployer, *, model: str = "", arm: str = "", rollout: str = "") -> dict[str, str]:
    """Labels that select the services of an installation, a model, an arm or a rollout."""
    labels = {
        "app.kubernetes.io/managed-by": "trimtab",
        "app.kubernetes.io/instance": settings.instance,
        MODEL: label_value(model),
        ARM: label_value(arm),
        ROLLOUT: label_value(rollout),
    }
    return {key: value for key, value in labels.items() if value}


def label_value(text: str) -> str:
    """`text` as the value of a label; one that had to be changed ends in a hash.

    >>> label_value("shop"), label_value("-shop")
    ('shop', 'shop-77c19d')
    """
    value = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    if value == text and len(value) <= 63:
        return value
    return f"{value[:56].rstrip('-_.')}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("-")


def inference_service(model: ModelVersion, settings: KserveDeployer, *, arm: str = "", rollout: str = "") -> Body:
    """The InferenceService of an arm, or the one for all requests of a model without arms.

    Args:
        model: The version to serve; its URI must be one that KServe's storage initialiser reads.
        settings: The profile's part.
        arm: Name of the arm; empty for a model without arms.
        rollout: Name of the rollout that the arm belongs to; empty for none.

    Raises:
        BadInput: The cluster could not read the version's URI.
    """
    labels = {
        "app.kubernetes.io/name": "trimtab-predictor",
        "app.kubernetes.io/component": "predictor",
        "app.kubernetes.io/part-of": "trimtab",
        **owner_labels(settings, model=model.name, arm=arm, rollout=rollout),
        **(_INSIDE if arm else {}),
    }
    return serialise(
        kserve.V1beta1InferenceService(
            api_version=API_VERSION,
            kind="InferenceService",
            metadata=client.V1ObjectMeta(
                name=service_name(model.name, arm),
                namespace=settings.namespace,
                labels=labels,
                annotations={MODE: settings.mode},
            ),
            spec=kserve.V1beta1InferenceServiceSpec(predictor=_predictor(model, settings, named=not arm)),
        )
    )


def with_canary(service: Body, candidate: ModelVersion, settings: KserveDeployer, *, percent: int) -> Body:
    """`service` with a share of the requests for another version, by the field that its deployment mode heeds.

    In Knative mode the candidate takes the predictor's place and KServe keeps the revision before it for the rest.

    Args:
        service: The InferenceService of a model without arms.
        candidate: The other version.
        settings: The profile's part.
        percent: Share of the requests for the candidate, in percent.

    Raises:
        BadInput: The share is no percentage, or KServe would ignore it without a word.
    """
    if not 0 <= percent <= 100:
        raise BadInput(f"percent is {percent}; it must be from 0 to 100.")
    spec = service["spec"]
    if spec.get("transformer"):
        raise BadInput(
            f"service '{service['metadata']['name']}' has a transformer, which calls the stable predictor alone, so "
            "that a canary gets no requests.",
            remedy="Put the transformation into the model.",
        )
    annotations = service["metadata"].get("annotations", {})
    if annotations.get(MODE) == "Knative":
        rolled = service.get("status", {}).get("components", {}).get("predictor", {}).get("latestRolledoutRevision")
        if not rolled:
            raise BadInput(
                f"no version of service '{service['metadata']['name']}' has had all requests yet, so that KServe would "
                "give them all to the canary.",
                remedy="Serve a stable version first.",
            )
        predictor = serialise(_predictor(candidate, settings, named=False))
        metadata = {**service["metadata"], "annotations": {**annotations, TAGS: "true"}}
        return {**service, "metadata": metadata, "spec": {"predictor": {**predictor, "canaryTrafficPercent": percent}}}
    stable = spec["predictor"]
    if stable.get("name") == _name_of(candidate):
        raise BadInput(f"version {candidate.version} is the stable one already; a canary needs another.")
    canary = serialise(_candidate(candidate, settings, percent=percent))
    return {**service, "spec": {"predictor": stable, "canary": [canary]}}


def promoted(service: Body) -> Body:
    """`service` with its canary in place of the stable version.

    Raises:
        BadInput: There is no canary.
    """
    predictor, canaries = service["spec"]["predictor"], service["spec"].get("canary")
    if canaries:
        # The canary's own name goes with it: KServe keeps its pods and drops the others.
        kept = {key: value for key, value in predictor.items() if key in ("maxReplicas", "minReplicas")}
        strategy = {"deploymentStrategy": predictor["deploymentStrategy"]} if "deploymentStrategy" in predictor else {}
        return {**service, "spec": {"predictor": {**canaries[0]["predictor"], **kept, **strategy}}}
    if "canaryTrafficPercent" in predictor:
        return {**service, "spec": {"predictor": _without(predictor, "canaryTrafficPercent")}}
    raise BadInput(f"service '{service['metadata']['name']}' has no canary to promote.", remedy="Set one first.")


def rolled_back(service: Body) -> Body:
    """`service` with all requests for the stable version; as it was where it has no canary.

    In Knative mode the candidate keeps a share of 0: the stable revision is known to KServe alone.
    """
    spec = service["spec"]
    if "canary" in spec:
        return {**service, "spec": _without(spec, "canary")}
    if "canaryTrafficPercent" in spec["predictor"]:
        return {**service, "spec": {**spec, "predictor": {**spec["predictor"], "canaryTrafficPercent": 0}}}
    return service


def _without(mapping: Mapping[str, Any], key: str) -> Body:
    return {name: value for name, value in mapping.items() if name != key}


def _name_of(model: ModelVersion) -> str:
    return f"v{model.version}"


def _candidate(model: ModelVersion, settings: KserveDeployer, *, percent: int) -> Any:
    predictor = _predictor(model, settings, named=True)
    # Without its own number of pods a canary of 0 percent has none and is never ready. KServe refuses the others.
    predictor.min_replicas = max(1, ceil(settings.min_replicas * percent / 100))
    predictor.max_replicas = predictor.deployment_strategy = None
    return V1beta1CanarySpec(predictor=predictor, traffic_percent=percent)


def _predictor(model: ModelVersion, settings: KserveDeployer, *, named: bool) -> Any:
    """The predictor; with a name of its own where a canary in Standard mode may take its place."""
    standard = settings.mode == "Standard"
    container = _container(model, settings)
    account = settings.service_account or None
    tolerations = [client.V1Toleration(**_set(item.model_dump())) for item in settings.tolerations]
    pod = [serialise(container), account, settings.node_selector, [serialise(item) for item in tolerations]]
    digest = hashlib.sha256(json.dumps(pod, sort_keys=True).encode()).hexdigest()[:16]
    return kserve.V1beta1PredictorSpec(
        name=_name_of(model) if named and standard else None,
        labels={VERSION: str(model.version), POD: digest},
        containers=[container],
        volumes=[client.V1Volume(name="tmp", empty_dir=client.V1EmptyDirVolumeSource())],
        service_account_name=account,
        automount_service_account_token=False,  # a predictor asks the API server for nothing
        min_replicas=settings.min_replicas,
        max_replicas=settings.max_replicas,
        node_selector=settings.node_selector or None,
        tolerations=tolerations or None,
        deployment_strategy=_rolling() if standard else None,
        termination_grace_period_seconds=_GRACE_SECONDS if standard else None,
    )


def _set(values: Mapping[str, Any]) -> Body:
    return {key: value for key, value in values.items() if value}


def _rolling() -> Any:
    """Never fewer pods than there were: the old ones answer until the new ones do."""
    return client.V1DeploymentStrategy(
        type="RollingUpdate", rolling_update=client.V1RollingUpdateDeployment(max_surge=1, max_unavailable=0)
    )


def _container(model: ModelVersion, settings: KserveDeployer) -> Any:
    standard = settings.mode == "Standard"
    ready = client.V1HTTPGetAction(path=f"/v2/models/{model.name}/ready", port=PORT)
    secret = client.V1EnvFromSource(secret_ref=client.V1SecretEnvSource(name=settings.env_secret))
    return client.V1Container(
        name=CONTAINER,
        image=settings.image,
        command=["python", "-m", "serving.predictor"],
        args=[
            *("--model_name", model.name),
            *("--model_dir", MOUNT),
            *("--model_version", str(model.version)),
            *(("--profile", settings.serving_profile) if settings.serving_profile else ()),
        ],
        env=[
            client.V1EnvVar(name="STORAGE_URI", value=_readable(model)),
            client.V1EnvVar(name="TRIMTAB_HOME", value="/tmp/trimtab"),  # noqa: S108 - the pod's own volume
        ],
        env_from=[secret] if settings.env_secret else None,
        ports=[client.V1ContainerPort(name="http1", container_port=PORT, protocol="TCP")],
        resources=client.V1ResourceRequirements(requests=settings.requests, limits=settings.limits),
        readiness_probe=client.V1Probe(http_get=ready, period_seconds=5, failure_threshold=3),
        # A model's loading is waited for, however long; a server that hangs afterwards is started anew.
        startup_probe=client.V1Probe(http_get=ready, period_seconds=2, failure_threshold=150) if standard else None,
        liveness_probe=client.V1Probe(
            http_get=client.V1HTTPGetAction(path="/v2/health/live", port=PORT), period_seconds=10, failure_threshold=6
        ),
        # Routers hear of a pod's end while it still answers; Knative drains by itself and forbids hooks.
        lifecycle=client.V1Lifecycle(
            pre_stop=client.V1LifecycleHandler(sleep=client.V1SleepAction(seconds=_DRAIN_SECONDS))
        )
        if standard
        else None,
        security_context=client.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            run_as_non_root=True,
            capabilities=client.V1Capabilities(drop=["ALL"]),
            seccomp_profile=client.V1SeccompProfile(type="RuntimeDefault"),
        ),
        volume_mounts=[client.V1VolumeMount(name="tmp", mount_path="/tmp")],  # noqa: S108 - the pod's own volume
        termination_message_policy="FallbackToLogsOnError",  # so that the status repeats the server's last words
    )


def _readable(model: ModelVersion) -> str:
    """The version's URI, if KServe's storage initialiser reads such."""
    scheme = model.uri.partition("://")[0]
    if scheme in _STORES and "://" in model.uri:
        return model.uri
    raise BadInput(
        f"version {model.version} of model '{model.name}' lies at '{model.uri}', where KServe cannot read it.",
        remedy=f"Register it with an artifact_root of {'://, '.join(_STORES[:3])}:// in the profile.",
    )
