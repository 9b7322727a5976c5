"""Core objects (ConfigMaps) by the same calls as custom ones; the client has methods and models per kind for them."""

from typing import Any

Body = dict[str, Any]


class CoreObjectsApi:
    """As much of `kubernetes.client.CustomObjectsApi` as `Objects` uses, for the API without a group.

    Args:
        api: A client, as `connect` gives it.
    """

    def __init__(self, api: Any) -> None:
        self._api = api

    def get_namespaced_custom_object(self, *place: str, **options: Any) -> Body:
        """One object."""
        return self._send("GET", *place, **options)

    def list_namespaced_custom_object(self, *place: str, label_selector: str, **options: Any) -> Body:
        """All objects with these labels."""
        return self._send("GET", *place, query=[("labelSelector", label_selector)], **options)

    def create_namespaced_custom_object(self, *place: str, **options: Any) -> Body:
        """Make an object."""
        return self._send("POST", *place, **options)

    def replace_namespaced_custom_object(self, *place: str, **options: Any) -> Body:
        """Write an object whole."""
        return self._send("PUT", *place, **options)

    def delete_namespaced_custom_object(self, *place: str, propagation_policy: str, **options: Any) -> Body:
        """Delete an object and what it owns."""
        return self._send("DELETE", *place, query=[("propagationPolicy", propagation_policy)], **options)

    def _send(
        self,
        method: str,
        _group: str,
        version: str,
        namespace: str,
        plural: str,
        name: str = "",
        *,
        body: Body | None = None,
        query: list[tuple[str, str]] | None = None,
        _request_timeout: tuple[float, float],
    ) -> Body:
        named = {"version": version, "namespace": namespace, "plural": plural, **({"name": name} if name else {})}
        path = "/api/{version}/namespaces/{namespace}/{plural}" + ("/{name}" if name else "")
        found: Body = self._api.call_api(
            path,
            method,
            named,
            query or [],
            {"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _return_http_data_only=True,
            _request_timeout=_request_timeout,
        )
        return found
