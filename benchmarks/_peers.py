"""What else a bundle would be served by: KServe's SDK as its documentation shows it, FastAPI, and an ASGI app without a
model, which is what HTTP and JSON alone cost.

    python -m benchmarks._peers {kserve,fastapi,asgi} BUNDLE PORT GRPC_PORT [PROFILE]
"""

import sys
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import uvicorn

from trimtab.models.bundle import ConversionModel
from trimtab.models.manifest import Actions


def main() -> None:
    kind, bundle, port, grpc_port, profile = (*sys.argv[1:], "")[:5]
    sys.argv = sys.argv[:1]  # KServe reads the command line too
    if kind == "asgi":
        uvicorn.run(_asgi, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
    elif kind == "fastapi":
        uvicorn.run(_fastapi(ConversionModel.load(Path(bundle))), host="127.0.0.1", port=int(port))
    else:
        _kserve(Path(bundle), int(port), int(grpc_port), profile)


def _predictions(actions: Actions) -> dict[str, Any]:
    rows = zip(actions.probability.tolist(), actions.uplift.tolist(), actions.act.tolist(), strict=True)
    return {"predictions": [{"probability": p, "uplift": u, "act": a, "version": 1} for p, u, a in rows]}


def _kserve(bundle: Path, port: int, grpc_port: int, profile: str) -> None:
    import kserve

    from serving.predictor.compose import SPEC
    from trimtab import runtime
    from trimtab.sessions.spec import load_spec

    store = runtime.load(profile).features if profile else None
    spec = load_spec(str(bundle / SPEC))

    class Torch(kserve.Model):
        """The same network in torch, by the SDK's default server with its default logs."""

        def load(self) -> bool:
            self.model = ConversionModel.load(bundle)
            self.ready = True
            return True

        def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
            del headers
            if isinstance(payload, kserve.InferRequest):
                return self._v2(payload)
            rows = payload["instances"]
            if store:
                history = store.online([row["user_id"] for row in rows], spec).to_dict(orient="records")
                rows = [{**row, **more} for row, more in zip(rows, history, strict=True)]
            return _predictions(self.model.act_arrays(*self.model.encode_rows(rows)))

        def _v2(self, payload: kserve.InferRequest) -> kserve.InferResponse:
            columns = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
            text = self.model.inputs.categorical
            columns |= {name: [value.decode() for value in columns[name]] for name in text if _is_bytes(columns[name])}
            actions = self.model.act(pd.DataFrame(columns))
            outputs = []
            for name, kind in (("probability", "FP64"), ("uplift", "FP64"), ("act", "BOOL")):
                output = kserve.InferOutput(name, [len(actions.act)], kind)
                output.set_data_from_numpy(getattr(actions, name), binary_data=payload.use_binary_outputs)
                outputs.append(output)
            return kserve.InferResponse(
                payload.id or "1", "shop", outputs, use_binary_outputs=payload.use_binary_outputs
            )

    model = Torch("shop")
    model.load()
    kserve.ModelServer(http_port=port, grpc_port=grpc_port).start([model])


def _is_bytes(values: Any) -> bool:
    return isinstance(values[0], bytes)


def _fastapi(model: ConversionModel) -> Any:
    from fastapi import FastAPI
    from pydantic import BaseModel

    app = FastAPI()

    class Request(BaseModel):
        instances: list[dict[str, float | str | None]]

    @app.get("/v2/models/shop/ready")
    def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/v1/models/shop:predict")
    async def predict(request: Request) -> dict[str, Any]:
        return _predictions(model.act_arrays(*model.encode_rows(request.instances)))

    return app


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    rows = 1
    if scope["method"] == "POST":
        rows = len(orjson.loads((await receive())["body"])["instances"])
    body = orjson.dumps({"predictions": [{"probability": 0.5, "uplift": 0.1, "act": True, "version": 1}] * rows})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    main()
