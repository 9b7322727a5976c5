"""What `helm test` runs: a real prediction through the router, and the same unit twice in the same arm.

Standard library and Trimtab's own spec reader, so that it needs no image of its own. Exit code 0 where all holds.
"""

import argparse
import json
import math
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS = 10.0


def ask(url: str, *, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[Any, Mapping[str, str]]:
    """The answer of a URL as JSON, and its headers by lower-case name.

    Args:
        url: What to ask.
        body: Sent as JSON where given.
        headers: Of the request.

    Raises:
        SystemExit: It does not answer, or with an error.
    """
    data = None if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, headers=sent)  # noqa: S310 - the chart gives an http URL
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:  # noqa: S310
            answer, found = reply.read(), {name.lower(): value for name, value in reply.headers.items()}
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url} answers {error.code}: {error.read().decode(errors='replace')[:500]}") from error
    except OSError as error:
        raise SystemExit(f"{url} does not answer: {error}") from error
    return (json.loads(answer) if answer.strip().startswith((b"{", b"[")) else answer.decode(errors="replace")), found


def instance(spec: str) -> dict[str, Any]:
    """An instance whose every request-time input is unknown.

    Args:
        spec: Dataset spec: a file or the name of a shipped one.
    """
    from trimtab.sessions.inputs import model_inputs
    from trimtab.sessions.spec import load_spec

    return dict.fromkeys(model_inputs(load_spec(spec)).request)


def check_prediction(url: str, *, model: str, body: Any, unit: str) -> str:
    """Ask twice for one unit; the arm that answered both times.

    Raises:
        SystemExit: There was no probability, or the arm changed.
    """
    arms = []
    for _ in range(2):
        answer, headers = ask(f"{url}/v1/models/{model}:predict", body=body, headers={"x-trimtab-unit": unit})
        predictions = answer.get("predictions", []) if isinstance(answer, dict) else []
        probability = predictions[0].get("probability", math.nan) if len(predictions) == 1 else math.nan
        if not 0 <= probability <= 1:
            raise SystemExit(f"model '{model}' answers {str(answer)[:500]}, which holds no probability.")
        arms.append(headers.get("x-trimtab-arm", ""))
    if not arms[0] or arms[0] != arms[1]:
        raise SystemExit(f"unit '{unit}' was in arm '{arms[0]}' and then in arm '{arms[1]}': assignment is not sticky.")
    return arms[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, check, and say what held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True, help="the router")
    parser.add_argument("--model", default="", help="model to ask; only readiness where empty")
    parser.add_argument("--spec", default="", help="dataset spec of the model")
    parser.add_argument("--unit", default="helm-test", help="unit to assign")
    options = parser.parse_args(arguments)
    ask(f"{options.url}/readyz")
    print("the router is ready")
    if not options.model:
        print("no prediction was asked for: set helmTest.model")
        return 0
    body = {"instances": [instance(options.spec)]}
    arm = check_prediction(options.url, model=options.model, body=body, unit=options.unit)
    print(f"model '{options.model}' predicts, and unit '{options.unit}' is in arm '{arm}' each time")
    return 0


if __name__ == "__main__":
    sys.exit(main())
