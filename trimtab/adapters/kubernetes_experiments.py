"""ModelExperiments in the Kubernetes API, for the command line."""

from collections.abc import Mapping
from typing import Any

from trimtab.adapters.kubernetes import Body, Kind, Objects
from trimtab.errors import NotFound
from trimtab.rollout.resource import GROUP, PLURAL, VERSION

EXPERIMENTS = Kind(GROUP, VERSION, PLURAL, "the chart trimtab-crds")


class KubernetesExperiments:
    """Satisfies `trimtab.ports.ExperimentResources`.

    Args:
        objects: The namespace's experiments.
        namespace: Where they lie.
    """

    def __init__(self, objects: Objects, *, namespace: str) -> None:
        self._objects = objects
        self.namespace = namespace

    def apply(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        """Make a resource, or give it the specification, labels and annotations of this one.

        Raises:
            BadInput: The API refuses it.
            Unavailable: The API does not answer.
        """

        def applied(found: Body | None) -> Body:
            if found is None:
                return dict(resource)
            metadata = dict(found["metadata"])
            for part in ("labels", "annotations"):
                said = resource["metadata"].get(part)
                if said:
                    metadata[part] = {**metadata.get(part, {}), **said}
            return {**found, "metadata": metadata, "spec": resource["spec"]}

        return self._objects.apply(str(resource["metadata"]["name"]), applied)

    def get(self, name: str) -> dict[str, Any]:
        """One resource.

        Raises:
            NotFound: There is none.
            Unavailable: The API does not answer.
        """
        found = self._objects.get(name)
        if found is None:
            raise NotFound(
                f"there is no ModelExperiment '{name}' in namespace '{self.namespace}'.",
                remedy="`trimtab experiment get` lists them.",
            )
        return found

    def list(self) -> list[dict[str, Any]]:
        """All resources, in the order of the alphabet."""
        return sorted(self._objects.select({}), key=lambda found: str(found["metadata"]["name"]))

    def annotate(self, name: str, annotations: Mapping[str, str]) -> dict[str, Any]:
        """Add or replace annotations.

        Raises:
            NotFound: There is no such resource.
            Unavailable: The API does not answer.
        """
        self.get(name)

        def annotated(found: Body | None) -> Body:
            if found is None:
                raise NotFound(f"ModelExperiment '{name}' was deleted just now.")
            metadata = found["metadata"]
            return {
                **found,
                "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}},
            }

        return self._objects.apply(name, annotated)

    def report(self, name: str, status: Mapping[str, Any]) -> None:
        """Write fields of the status; None removes one.

        Raises:
            NotFound: There is no such resource.
            BadInput: The API refuses the change.
            Unavailable: The API does not answer.
        """
        self._objects.merge(name, {"status": status}, part="status")

    def take_off(self, name: str, annotations: Mapping[str, str]) -> None:
        """Remove annotations, unless they say something else by now.

        Raises:
            NotFound: There is no such resource.
            BadInput: The API refuses the change.
            Unavailable: The API does not answer.
        """

        def removed(found: Body) -> Body:
            said = found["metadata"].get("annotations", {})
            if any(said.get(key) != value for key, value in annotations.items()):
                return {}
            return {"metadata": {"annotations": dict.fromkeys(annotations)}}

        self._objects.amend(name, removed)
