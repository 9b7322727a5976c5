"""Canaries by share for models without a unit id, by KServe's own fields.

Requests are split by a random number per request: nobody keeps an arm, so this is for models whose requests have no
user, and no experiment can be read off it. Standard mode keeps stable and canary side by side in `spec.canary` (KServe
0.20 or later, with the Gateway API); Knative mode splits between the newest revision and the last one that had all
requests. Each mode ignores the other's field without a word, so the service's own mode decides which is written.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trimtab.adapters.kserve import manifests, status
from trimtab.adapters.kserve.services import Services
from trimtab.errors import BadInput, NotFound, Unavailable
from trimtab.profile import KserveDeployer
from trimtab.types import Endpoint, ModelVersion

Body = dict[str, Any]


class KserveCanary:
    """One model's InferenceService with a stable version and, for a while, another one.

    Args:
        model: Name of the model.
        settings: The profile's part.
        api: A client of the cluster; None connects as the settings say.
        poll_seconds: Between two looks at a status.
    """

    def __init__(self, model: str, settings: KserveDeployer, *, api: Any = None, poll_seconds: float = 1.0) -> None:
        self._model = model
        self._settings = settings
        self._name = manifests.service_name(model)
        self._services = Services(settings, api=api, poll_seconds=poll_seconds)

    def serve(self, version: ModelVersion) -> Endpoint:
        """Answer all requests by this version; returns once it does.

        Raises:
            BadInput: A canary is running, or the cluster could not read the version.
            Unavailable: The version was not ready in time.
        """
        wanted = manifests.inference_service(version, self._settings)

        def change(found: Body | None) -> Body:
            if found and _has_canary(found):
                raise BadInput(f"a canary of model '{self._model}' is running.", remedy="Promote it or roll it back.")
            return wanted

        return self._write(change, what=f"version {version.version}")

    def set(self, candidate: ModelVersion, percent: int) -> Endpoint:
        """Give another version a share of the requests; returns once it has it.

        Args:
            candidate: The other version; the same one in all calls until it is promoted or rolled back.
            percent: Its share, from 0 (deployed, but asked nothing) to 100.

        Raises:
            BadInput: KServe would ignore it, another canary is running, or there is no stable version.
            Unavailable: The candidate was not ready in time.
        """

        def change(found: Body | None) -> Body:
            service = self._stable(found)
            running = _candidate_of(service)
            if running not in ("", str(candidate.version)):
                raise BadInput(
                    f"version {running} is the canary of model '{self._model}'.", remedy="Promote it or roll it back."
                )
            return manifests.with_canary(service, candidate, self._settings, percent=percent)

        return self._write(change, what=f"version {candidate.version} at {percent}%")

    def promote(self) -> Endpoint:
        """Answer all requests by the canary, which is the stable version from now on.

        Raises:
            BadInput: There is no canary.
        """
        return self._write(lambda found: manifests.promoted(self._stable(found)), what="the promoted version")

    def roll_back(self) -> Endpoint:
        """Answer all requests by the stable version; nothing happens where there is no canary."""
        return self._write(
            lambda found: manifests.rolled_back(self._stable(found)), what="the stable version", unready=True
        )

    def remove(self) -> None:
        """Delete the service and wait until its pods are gone; nothing happens where there is none."""
        if self._services.get(self._name):
            self._services.remove(self._name)

    def _write(self, change: Callable[[Body | None], Body], *, what: str, unready: bool = False) -> Endpoint:
        written = self._services.write(self._name, change)
        aim = replace(status.aim_of(written), unready=unready)
        service = self._services.await_ready(self._name, aim, what=f"{what} of '{self._model}'")
        url = status.split_url(service)
        if not url:
            raise Unavailable(f"KServe names no URL of service '{self._name}'.", remedy="Set its ingress up.")
        return Endpoint(arm="", url=url, model=self._model, version=self._services.stable_version(service))

    def _stable(self, found: Body | None) -> Body:
        if found is None:
            raise NotFound(f"model '{self._model}' has no service yet.", remedy="Serve a stable version first.")
        return found


def _has_canary(service: Body) -> bool:
    spec = service["spec"]
    return "canary" in spec or spec["predictor"].get("canaryTrafficPercent", 0) > 0


def _candidate_of(service: Body) -> str:
    """Version of the running canary; empty where there is none."""
    spec = service["spec"]
    if not _has_canary(service):
        return ""
    predictor = spec["canary"][0]["predictor"] if "canary" in spec else spec["predictor"]
    return str(predictor["labels"][manifests.VERSION])
