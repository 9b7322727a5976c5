"""A leader by a Lease: whoever holds it acts, everyone else waits until it has not been renewed for its whole term.

The holder's clock and the others' never meet. A rival goes by how long *it* has seen the lease unchanged, as
Kubernetes' own components do, and a holder that could not renew stops before its term is over.
"""

from datetime import UTC, datetime, timedelta

from trimtab.adapters.kubernetes import Body, Kind, Objects
from trimtab.errors import TrimtabError

LEASES = Kind("coordination.k8s.io", "v1", "leases", "Kubernetes")


class KubernetesLease:
    """Satisfies `trimtab.ports.Lease`.

    Args:
        objects: The namespace's leases.
        name: Which of them.
        holder: Who asks, unique among all who do.
        seconds: Its term.
    """

    def __init__(self, objects: Objects, *, name: str, holder: str, seconds: int = 30) -> None:
        self._objects = objects
        self._name = name
        self._holder = holder
        self._term = timedelta(seconds=seconds)
        self._seen: tuple[object, datetime] | None = None

    @property
    def term(self) -> timedelta:
        """How long a claim holds."""
        return self._term

    def claim(self, *, now: datetime) -> bool:
        """Take the lease, or renew it.

        Args:
            now: Aware time.

        Returns:
            Whether it is held from now on; False where another one holds it.

        Raises:
            Unavailable: The API does not answer.
        """
        held = self._objects.apply(self._name, lambda found: self._claimed(found, now))
        return bool(held["spec"].get("holderIdentity") == self._holder)

    def let_go(self) -> None:
        """Give it up, so that the next one need not wait; nothing happens where another one holds it."""

        def freed(found: Body | None) -> Body:
            if found is None or found["spec"].get("holderIdentity") != self._holder:
                raise _NotOurs(f"lease '{self._name}' is not held by '{self._holder}'.")
            return {**found, "spec": {**found["spec"], "holderIdentity": ""}}

        try:
            self._objects.apply(self._name, freed)
        except _NotOurs:
            return

    def _claimed(self, found: Body | None, now: datetime) -> Body:
        """The lease as it is to be; as it was, where it is another's."""
        spec = dict((found or {}).get("spec") or {})
        holder = str(spec.get("holderIdentity") or "")
        if holder not in ("", self._holder) and not self._is_over(spec, now):
            return found or {}
        stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if holder != self._holder:
            spec |= {"acquireTime": stamp, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + bool(holder)}
        spec |= {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": int(self._term.total_seconds()),
            "renewTime": stamp,
        }
        made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}}
        return {**(found or made), "spec": spec}

    def _is_over(self, spec: Body, now: datetime) -> bool:
        """Whether it has been seen unchanged for its whole term."""
        mark = (spec.get("holderIdentity"), spec.get("renewTime"))
        if self._seen is None or self._seen[0] != mark:
            self._seen = (mark, now)
        term = timedelta(seconds=float(spec.get("leaseDurationSeconds") or self._term.total_seconds()))
        return now - self._seen[1] >= term


class _NotOurs(TrimtabError):
    """There is nothing to give up."""
