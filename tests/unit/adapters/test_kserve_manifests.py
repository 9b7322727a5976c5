"""What is asked of KServe fits its schema, and what it would ignore is refused."""

import copy
from pathlib import Path
from typing import Any

import pytest

from trimtab.adapters.kserve import manifests
from trimtab.errors import BadInput
from trimtab.profile import KserveDeployer
from trimtab.testing.crd_schemas import crd_folder, crd_problems
from trimtab.types import ModelVersion

STABLE = ModelVersion("shop", 3, uri="s3://models/m-3/artifacts/bundle")
NEXT = ModelVersion("shop", 4, uri="s3://models/m-4/artifacts/bundle")


def settings(**fields: Any) -> KserveDeployer:
    return KserveDeployer(kind="kserve", **fields)


FULL = {
    "service_account": "models",
    "serving_profile": "cluster",
    "env_secret": "serving-env",
    "limits": {"memory": "4Gi", "habana.ai/gaudi": "1"},
    "node_selector": {"pool": "gaudi"},
    "tolerations": [{"key": "habana.ai/gaudi", "effect": "NoSchedule"}],
}


@pytest.fixture
def folder() -> Path:
    found = crd_folder()
    if found is None:
        pytest.skip("no folder with KServe's schemas: set TRIMTAB_CRD_DIR")
    return found


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize("fields", [{}, FULL], ids=["plain", "full"])
def test_manifests_fit_the_schema(folder: Path, mode: str, fields: dict[str, Any]) -> None:
    chosen = settings(mode=mode, **fields)
    arm = manifests.inference_service(STABLE, chosen, arm="control", rollout="spring")
    single = rolled(manifests.inference_service(STABLE, chosen))
    canary = manifests.with_canary(single, NEXT, chosen, percent=10)
    for manifest in (arm, single, canary, manifests.promoted(canary), manifests.rolled_back(canary)):
        assert crd_problems(manifest, folder) == []


def test_an_unknown_field_does_not_fit(folder: Path) -> None:
    """An API server would drop it without a word, which is why the check has to be stricter."""
    manifest = manifests.inference_service(STABLE, settings(), arm="control")
    manifest["spec"]["predictor"]["containers"][0]["readynessProbe"] = {}
    (problem,) = crd_problems(manifest, folder)
    assert "'readynessProbe' was unexpected" in problem
    with pytest.raises(LookupError, match="no schema of v1 Pod"):
        crd_problems({"apiVersion": "v1", "kind": "Pod"}, folder)


def test_an_arm_is_a_server_of_one_version() -> None:
    made = manifests.inference_service(STABLE, settings(**FULL), arm="control", rollout="spring")
    assert made["metadata"]["name"] == "shop-control"
    labels = made["metadata"]["labels"]
    assert labels["trimtab.dev/model"] == "shop"
    assert labels["trimtab.dev/arm"] == "control"
    assert labels["trimtab.dev/rollout"] == "spring"
    assert labels["networking.kserve.io/visibility"] == "cluster-local"
    predictor = made["spec"]["predictor"]
    assert predictor["labels"]["trimtab.dev/version"] == "3"
    assert predictor["serviceAccountName"] == "models"
    assert predictor["nodeSelector"] == {"pool": "gaudi"}
    assert predictor["tolerations"] == [{"key": "habana.ai/gaudi", "operator": "Exists", "effect": "NoSchedule"}]
    (container,) = predictor["containers"]
    assert container["args"][-2:] == ["--profile", "cluster"]
    assert {"name": "STORAGE_URI", "value": STABLE.uri} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "serving-env"}}]
    assert container["resources"]["limits"]["habana.ai/gaudi"] == "1"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_knative_is_given_nothing_that_it_forbids() -> None:
    """Hooks are refused by Knative's webhook, and update strategies belong to Deployments."""
    predictor = manifests.inference_service(STABLE, settings(mode="Knative"), arm="control")["spec"]["predictor"]
    assert "deploymentStrategy" not in predictor
    assert "lifecycle" not in predictor["containers"][0]
    standard = manifests.inference_service(STABLE, settings(), arm="control")["spec"]["predictor"]
    assert standard["deploymentStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert standard["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"image": "trimtab/serving:2"}, True),
        ({"node_selector": {"pool": "cpu"}}, True),
        ({"tolerations": [{"key": "spot"}]}, True),
        ({"max_replicas": 9}, False),
    ],
)
def test_the_hash_follows_what_pods_are_made_of(change: dict[str, Any], differs: bool) -> None:
    def pod(chosen: KserveDeployer) -> str:
        made = manifests.inference_service(STABLE, chosen, arm="control")
        return str(made["spec"]["predictor"]["labels"]["trimtab.dev/pod"])

    assert (pod(settings()) != pod(settings(**change))) is differs


@pytest.mark.parametrize(
    ("model", "arm"), [("Shop_2", "control"), ("9lives", ""), ("shop", "a" * 60), ("x" * 200, "y" * 200), ("é", "ü")]
)
def test_names_are_what_dns_and_kserve_take(model: str, arm: str) -> None:
    name = manifests.service_name(model, arm)
    assert name.replace("-", "a").isalnum()
    assert name.isascii()
    assert name == name.lower()
    assert name[0].isalpha()
    assert name[-1] != "-"
    assert len(f"{name}-v1234-predictor") <= 63


def test_names_of_different_arms_differ() -> None:
    pairs = [("shop", "a-b"), ("shop-a", "b"), ("Shop", "a-b"), ("shop", "a_b"), ("shop", "x" * 60), ("shop", "x" * 61)]
    pairs += [("shop", "b"), ("shop-b", "")]
    assert len({manifests.service_name(*pair) for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("uri", ["", "models:/m-1", "mlflow-artifacts:/1/x", "file:///artifacts/x", "/artifacts/x"])
def test_a_version_that_the_cluster_cannot_read_is_refused(uri: str) -> None:
    with pytest.raises(BadInput, match=r"where KServe cannot read it.*artifact_root of s3://"):
        manifests.inference_service(ModelVersion("shop", 3, uri=uri), settings(), arm="control")


def rolled(service: dict[str, Any]) -> dict[str, Any]:
    """A service whose predictor has had all requests, in Knative's words."""
    return {**service, "status": {"components": {"predictor": {"latestRolledoutRevision": "shop-predictor-00001"}}}}


def test_standard_mode_keeps_both_side_by_side() -> None:
    stable = manifests.inference_service(STABLE, settings(min_replicas=4, max_replicas=9))
    service = manifests.with_canary(stable, NEXT, settings(min_replicas=4, max_replicas=9), percent=30)
    (canary,) = service["spec"]["canary"]
    assert canary["trafficPercent"] == 30
    assert canary["predictor"]["name"] == "v4"
    assert canary["predictor"]["minReplicas"] == 2
    assert "maxReplicas" not in canary["predictor"], "KServe refuses autoscaling of a canary"
    assert "canaryTrafficPercent" not in service["spec"]["predictor"], "Standard mode ignores it"
    assert service["spec"]["predictor"] == stable["spec"]["predictor"]
    promoted = manifests.promoted(service)["spec"]
    assert "canary" not in promoted
    assert promoted["predictor"]["name"] == "v4", "another name would start the pods anew"
    assert promoted["predictor"]["minReplicas"] == 4
    assert promoted["predictor"]["maxReplicas"] == 9
    assert manifests.rolled_back(service)["spec"] == stable["spec"]
    assert manifests.rolled_back(stable) == stable


def test_a_dark_canary_has_a_pod() -> None:
    """KServe derives the number of pods from the share, and 0 percent of anything is never ready."""
    service = manifests.inference_service(STABLE, settings())
    (canary,) = manifests.with_canary(service, NEXT, settings(), percent=0)["spec"]["canary"]
    assert canary["predictor"]["minReplicas"] == 1


def test_knative_mode_puts_the_candidate_into_the_predictor() -> None:
    chosen = settings(mode="Knative")
    service = rolled(manifests.inference_service(STABLE, chosen))
    split = manifests.with_canary(service, NEXT, chosen, percent=10)
    assert "canary" not in split["spec"], "Knative mode ignores it"
    assert split["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert split["spec"]["predictor"]["labels"]["trimtab.dev/version"] == "4"
    assert split["metadata"]["annotations"]["serving.kserve.io/enable-tag-routing"] == "true"
    assert "canaryTrafficPercent" not in manifests.promoted(split)["spec"]["predictor"]
    assert manifests.rolled_back(split)["spec"]["predictor"]["canaryTrafficPercent"] == 0


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_share_is_a_percentage(percent: int) -> None:
    with pytest.raises(BadInput, match=f"percent is {percent}"):
        manifests.with_canary(manifests.inference_service(STABLE, settings()), NEXT, settings(), percent=percent)


def test_what_kserve_would_ignore_is_refused() -> None:
    service = manifests.inference_service(STABLE, settings())
    transformed = copy.deepcopy(service)
    transformed["spec"]["transformer"] = {"containers": [{"name": "kserve-container"}]}
    with pytest.raises(BadInput, match="calls the stable predictor alone"):
        manifests.with_canary(transformed, NEXT, settings(), percent=10)
    with pytest.raises(BadInput, match="stable one already"):
        manifests.with_canary(service, STABLE, settings(), percent=10)
    with pytest.raises(BadInput, match="no canary to promote"):
        manifests.promoted(service)
    knative = settings(mode="Knative")
    with pytest.raises(BadInput, match="give them all to the canary"):
        manifests.with_canary(manifests.inference_service(STABLE, knative), NEXT, knative, percent=10)
    with pytest.raises(ValueError, match="does not scale to zero"):
        settings(min_replicas=0)
