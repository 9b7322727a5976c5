"""The request that the quickstart sends."""

import json
from pathlib import Path

from trimtab.sessions.inputs import model_inputs
from trimtab.sessions.spec import load_spec

REQUEST = Path(__file__).parents[3] / "examples" / "ux_sessions" / "request.json"


def test_carries_the_unit_and_every_input_of_a_request() -> None:
    spec = load_spec("ux_sessions")
    (instance,) = json.loads(REQUEST.read_text())["instances"]
    assert set(instance) == {str(spec.unit), *model_inputs(spec).request}
