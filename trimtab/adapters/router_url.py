"""A router that somebody else runs, e.g. the chart."""

import httpx

from trimtab.errors import Unavailable


class RunningRouter:
    """Satisfies `trimtab.ports.RouterHost`.

    Args:
        url: Where it answers.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def open(self) -> str:
        """Its URL, once it says that it is ready.

        Raises:
            Unavailable: It does not.
        """
        try:
            answer = httpx.get(f"{self._url}/readyz", timeout=5.0, trust_env=False)
        except httpx.TransportError as error:
            raise Unavailable(f"the router at {self._url} did not answer: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"the router at {self._url} is not ready: {answer.text[:200]}")
        return self._url

    def close(self) -> None:
        """Nothing to do: it is not ours."""
