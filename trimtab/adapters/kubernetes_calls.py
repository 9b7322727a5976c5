"""The calls that the Kubernetes API takes for objects of any kind, core or custom, by one client.

The client has methods and models per core kind, and for custom kinds no way to name a patch's type: it would send a
strategic merge, which the API refuses for them.
"""

from typing import Any

Body = dict[str, Any]
_TIMEOUTS = (5.0, 15.0)  # seconds to connect, and until the answer


class ObjectCalls:
    """Calls for the objects of one kind in one namespace; they raise the client's errors.

    Args:
        api: A client, as `kubernetes.connect` gives it.
        group: Group of the kind; empty for core objects.
        version: Version of the group.
        namespace: Where.
        plural: The kind, as in a URL.
    """

    def __init__(self, api: Any, *, group: str, version: str, namespace: str, plural: str) -> None:
        self._api = api
        self._place = {
            "version": version,
            "namespace": namespace,
            "plural": plural,
            **({"group": group} if group else {}),
        }
        root = "/apis/{group}/{version}" if group else "/api/{version}"
        self._path = root + "/namespaces/{namespace}/{plural}"

    def get(self, name: str) -> Body:
        """One object."""
        return self._send("GET", name)

    def list(self, selector: str) -> Body:
        """All objects with the labels of a selector."""
        return self._send("GET", query={"labelSelector": selector})

    def create(self, body: Body) -> Body:
        """Make an object."""
        return self._send("POST", body=body)

    def replace(self, name: str, body: Body) -> Body:
        """Write an object whole."""
        return self._send("PUT", name, body=body)

    def merge(self, name: str, body: Body, *, part: str = "") -> Body:
        """Write some fields of an object, or of a part such as `status`; None removes a field."""
        return self._send("PATCH", name, part, body=body, kind="application/merge-patch+json")

    def delete(self, name: str) -> Body:
        """Delete an object, once what it owns is gone."""
        return self._send("DELETE", name, query={"propagationPolicy": "Foreground"})

    def _send(
        self,
        method: str,
        name: str = "",
        part: str = "",
        *,
        body: Body | None = None,
        query: dict[str, str] | None = None,
        kind: str = "application/json",
    ) -> Body:
        path = self._path + ("/{name}" if name else "") + (f"/{part}" if part else "")
        found: Body = self._api.call_api(
            path,
            method,
            {**self._place, **({"name": name} if name else {})},
            list((query or {}).items()),
            {"Accept": "application/json", "Content-Type": kind},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=_TIMEOUTS,
        )
        return found
