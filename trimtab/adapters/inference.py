"""A client of deployed arms over HTTP, speaking KServe's v1 protocol."""

import weakref

import httpx
import numpy as np
import orjson
import pandas as pd

from trimtab.errors import BadInput, NotFound, TrimtabError, Unavailable
from trimtab.types import Endpoint

_HEADERS = {"content-type": "application/json"}
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)


class HttpPredictor:
    """Asks arms for predictions; satisfies `trimtab.ports.Predictor`. Safe to share between threads.

    Connections are kept open and reused. A connection that cannot be made is tried again, and so is a request whose
    kept-open connection turns out to be closed: a prediction changes nothing, so asking twice is safe. A request that
    times out is not repeated, because that would double the load on a server that is already too slow.
    """

    def __init__(self) -> None:
        # trust_env=False: arms are inside the machine or cluster; a proxy for the outside must not see the requests.
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(retries=2, limits=httpx.Limits(max_keepalive_connections=32)),
            timeout=_TIMEOUT,
            trust_env=False,
        )
        self._closing = weakref.finalize(self, self._client.close)

    def predict(self, endpoint: Endpoint, instances: pd.DataFrame) -> pd.DataFrame:
        """Ask an arm about instances.

        Args:
            endpoint: Where the arm answers.
            instances: One row per instance; the model's request inputs, the unit id, and optionally history features.

        Returns:
            One row per instance, in order: `probability`, `uplift` (0 where the model knows of no action), `act`,
            `version`, and `history` (where the history features came from).

        Raises:
            BadInput: The server says that the request is wrong.
            Unavailable: The server cannot be reached, is too slow, or is not ready.
            TrimtabError: The answer is not what the protocol says.
        """
        body = orjson.dumps({"instances": records(instances)})
        response = self._post(endpoint, body)
        if response.status_code != httpx.codes.OK:
            raise _refusal(endpoint, response)
        try:
            answers = pd.DataFrame(orjson.loads(response.content)["predictions"])
            answers = answers.astype({"probability": float, "uplift": float, "act": bool})
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise TrimtabError(f"arm '{endpoint.arm}' at {endpoint.url} sent an answer that makes no sense.") from error
        if len(answers) != len(instances):
            raise TrimtabError(f"arm '{endpoint.arm}' answered {len(answers)} of {len(instances)} instances.")
        return answers

    def close(self) -> None:
        """Close the connections; happens by itself when nobody holds the predictor any more."""
        self._closing()

    def _post(self, endpoint: Endpoint, body: bytes) -> httpx.Response:
        url = f"{endpoint.url}/v1/models/{endpoint.model}:predict"
        try:
            try:
                return self._client.post(url, content=body, headers=_HEADERS)
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                return self._client.post(url, content=body, headers=_HEADERS)
        except httpx.TransportError as error:
            raise Unavailable(
                f"arm '{endpoint.arm}' at {endpoint.url} did not answer: {type(error).__name__}: {error}",
                remedy="Look at the server's log.",
            ) from error


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Rows as dictionaries of plain values: times as ISO 8601 text; a NaN becomes null in JSON."""
    columns = [_plain(frame[name]) for name in frame.columns]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _plain(values: pd.Series) -> list[object]:
    if not isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.tolist()
    utc = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return [None if text == "NaT" else text for text in np.datetime_as_string(utc, timezone="UTC").tolist()]


def _refusal(endpoint: Endpoint, response: httpx.Response) -> TrimtabError:
    try:
        reason = str(orjson.loads(response.content)["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        reason = response.text[:200]
    message = f"arm '{endpoint.arm}' at {endpoint.url} answered {response.status_code}: {reason}"
    if response.status_code == httpx.codes.NOT_FOUND:
        return NotFound(message)
    return BadInput(message) if response.is_client_error else Unavailable(message)
