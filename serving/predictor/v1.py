"""KServe's v1 protocol: a JSON list of instances in, a JSON list of predictions out."""

import orjson

from serving.predictor.engine import Answer, Engine
from trimtab.errors import BadInput


async def answer(engine: Engine, body: bytes) -> bytes:
    """Answer the body of `POST /v1/models/{name}:predict`.

    Raises:
        BadInput: The body is not as the protocol or the model wants it.
    """
    return orjson.dumps(await predict(engine, parsed(body)))


async def predict(engine: Engine, body: object) -> dict[str, list[dict[str, object]]]:
    """Answer a decoded body.

    Raises:
        BadInput: As `answer`.
    """
    batch = engine.reader.instances(body)
    engine.metrics.batch("v1", len(batch.units))
    return {"predictions": _predictions(await engine.answer(batch), engine.version)}


def parsed(body: bytes | memoryview) -> object:
    """Decode JSON.

    Raises:
        BadInput: It is none, or not UTF-8.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not valid JSON: {error}.") from error


def _predictions(answer: Answer, version: int) -> list[dict[str, object]]:
    actions = answer.actions
    return [
        {"probability": probability, "uplift": uplift, "act": act, "version": version, "history": history}
        for probability, uplift, act, history in zip(
            actions.probability.tolist(), actions.uplift.tolist(), actions.act.tolist(), answer.history, strict=True
        )
    ]
