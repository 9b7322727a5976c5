"""The version as KServe sees it: its readiness and metadata, and predictions that come by KServe's own paths."""

from typing import Any

import kserve
from kserve.errors import InvalidInput

from serving.predictor import v1
from serving.predictor.engine import Engine
from serving.predictor.grpc_service import infer
from serving.predictor.tensors import OUTPUTS
from trimtab.errors import BadInput


class ConversionPredictor(kserve.Model):
    """A KServe model around an engine.

    Args:
        engine: Answers batches.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.name)
        self._engine = engine

    async def warm_up(self) -> None:
        """Answer as requests are answered, and only then be ready; on the event loop that serves."""
        await self._engine.warm_up()
        self.ready = True

    def load(self) -> bool:
        """Whether the model is ready: it was loaded before the server began, and is warmed up by `warm_up`."""
        return bool(self.ready)

    async def predict(
        self,
        payload: object,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | kserve.InferResponse:
        """Answer a v1 body (a CloudEvent's data, say) or a v2 request.

        Raises:
            InvalidInput: The request is wrong; KServe answers 400 with the reason.
        """
        del headers, response_headers
        if isinstance(payload, kserve.InferRequest):
            return kserve.InferResponse.from_grpc(await infer(self._engine, payload.to_grpc()))
        try:
            return await v1.predict(self._engine, payload)
        except BadInput as error:
            raise InvalidInput(str(error)) from error

    def get_input_types(self) -> list[dict[str, object]]:
        """Columns of a v2 request."""
        inputs, about = self._engine.inputs, self._engine.about
        text = {*inputs.categorical, *about}
        names = (*inputs.request, *about)
        return [{"name": name, "datatype": "BYTES" if name in text else "FP64", "shape": [-1]} for name in names]

    def get_output_types(self) -> list[dict[str, object]]:
        """Columns of a v2 response."""
        return [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in OUTPUTS.items()]
