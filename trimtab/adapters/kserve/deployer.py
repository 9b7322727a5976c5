"""Arms as InferenceServices: one service per arm, behind the router."""

import contextlib
from typing import Any

from trimtab.adapters.kserve import manifests, status
from trimtab.adapters.kserve.services import Services
from trimtab.errors import BadInput, TrimtabError, Unavailable
from trimtab.profile import KserveDeployer
from trimtab.types import Endpoint, ModelVersion


class KserveArmDeployer:
    """Runs one InferenceService per arm; satisfies `trimtab.ports.Deployer`.

    An arm keeps its service, and so its URL, when its version changes: KServe replaces the pods one by one, and the old
    ones answer until the new ones do. Everything that is known lies in the cluster, so another process can go on.

    Args:
        settings: The profile's part.
        rollout: Name of the rollout that the arms belong to; empty for none.
        api: A client of the cluster; None connects as the settings say.
        poll_seconds: Between two looks at a status.

    Attributes:
        lasting: Services go on when this process ends.
    """

    lasting = True

    def __init__(
        self, settings: KserveDeployer, *, rollout: str = "", api: Any = None, poll_seconds: float = 1.0
    ) -> None:
        self._settings = settings
        self._rollout = rollout
        self._services = Services(settings, api=api, poll_seconds=poll_seconds)

    def deploy(self, model: ModelVersion, *, arm: str) -> Endpoint:
        """Serve the version; returns once all of the arm's pods are of it and ready.

        An arm that does not become ready is put back to what it was before.

        Raises:
            BadInput: The cluster could not read the version, refuses the service, or the name is somebody else's.
            Unavailable: The arm was not ready in time; the message holds what KServe and the server say.
        """
        wanted = manifests.inference_service(model, self._settings, arm=arm, rollout=self._rollout)
        name = wanted["metadata"]["name"]
        before = self._services.get(name)
        if before:
            self._check_rollout(before)
        self._services.write(name, lambda _: wanted)
        what = f"version {model.version} of model '{model.name}' for arm '{arm}'"
        try:
            service = self._services.await_ready(name, status.aim_of(wanted), what=what)
        except TrimtabError:
            with contextlib.suppress(TrimtabError):  # the reason for the failure is what the caller is to hear
                self._put_back(name, before)
            raise
        url = status.inside_url(service)
        if not url:
            raise Unavailable(f"KServe names no address of service '{name}'.")
        return Endpoint(arm=arm, url=url, model=model.name, version=model.version)

    def remove(self, arm: str, *, model: str, rollout: str = "") -> None:
        """Delete the arm's service and wait until its pods are gone; nothing happens where there is none.

        A service of another installation or rollout is left alone.

        Args:
            arm: The arm.
            model: Its model.
            rollout: Its rollout, where that is another than the deployer's own.
        """
        service = self._services.own(manifests.service_name(model, arm))
        if service and _rollout_of(service) == manifests.label_value(rollout or self._rollout):
            self._services.remove(service["metadata"]["name"])

    def _check_rollout(self, service: dict[str, Any]) -> None:
        owner = _rollout_of(service)
        if owner != manifests.label_value(self._rollout):
            raise BadInput(
                f"service '{service['metadata']['name']}' belongs to "
                + (f"rollout '{owner}'." if owner else "no rollout."),
                remedy="End that rollout first.",
            )

    def _put_back(self, name: str, before: dict[str, Any] | None) -> None:
        if before is None:
            self._services.remove(name)
        else:
            self._services.write(name, lambda _: before)


def _rollout_of(service: dict[str, Any]) -> str:
    return str(service["metadata"]["labels"].get(manifests.ROLLOUT, ""))
