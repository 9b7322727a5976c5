"""Answers requests for one model version: probability, uplift, whether to act, and which version said so."""

import asyncio
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import kserve
import numpy as np
import pandas as pd
from kserve.errors import InvalidInput

from serving.predictor.history import History
from serving.predictor.payload import Batch, batch_of, columns_of_instances
from trimtab.errors import BadInput
from trimtab.models.bundle import ConversionModel
from trimtab.sessions.privacy import pseudonym

HistorySource = Literal["request", "store", "absent"]
_PSEUDONYM = re.compile(r"p-[0-9a-f]{20}")
_V2_NUMBERS = frozenset(
    {"FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16", "UINT8"}
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says about a batch; arrays have shape [instances].

    Attributes:
        probability: Calibrated probability of conversion if the app does not act.
        uplift: What acting would add to it; 0 where the model knows of no action.
        act: Whether the app should act.
        history: Where the history features came from.
    """

    probability: np.ndarray
    uplift: np.ndarray
    act: np.ndarray
    history: HistorySource


class ConversionPredictor(kserve.Model):
    """A KServe model around a bundle; REST v1 and v2 (Open Inference Protocol).

    Args:
        name: Name in the URL.
        model: The loaded bundle.
        version: Version in the registry.
        unit: Name of the unit column; None where the data have none.
        timestamp: Name of the timestamp column; None where the data have none.
        key: Secret key of the pseudonyms.
        history: Reads a unit's history; None where the model has no history features.
    """

    def __init__(
        self,
        name: str,
        *,
        model: ConversionModel,
        version: int,
        unit: str | None = None,
        timestamp: str | None = None,
        key: bytes = b"",
        history: History | None = None,
    ) -> None:
        super().__init__(name)
        self._model = model
        self._version = version
        self._unit = unit
        self._timestamp = timestamp
        self._key = key
        self._history = history
        self._about = tuple(name for name in (unit, timestamp) if name)
        self._wanted = (*model.inputs.request, *model.inputs.history, *self._about)
        # One thread computes, so that a large batch leaves the event loop free to answer health checks.
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    def load(self) -> bool:
        """Answer once, as a request would be answered, and only then be ready."""
        inputs = self._model.inputs
        row: dict[str, list[object]] = {name: [None] for name in inputs.request}
        self._worker.submit(self._model.act, batch_of(row, inputs).frame).result()
        if self._history:
            self._history.warm_up()
        self.ready = True
        return self.ready

    async def predict(
        self,
        payload: object,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | kserve.InferResponse:
        """Answer a v1 body or a v2 request.

        Raises:
            InvalidInput: The request is wrong; KServe answers 400 with the reason.
        """
        del headers, response_headers
        try:
            batch = batch_of(self._columns(payload), self._model.inputs, unit=self._unit, timestamp=self._timestamp)
            answer = await self._answer(batch)
        except BadInput as error:
            raise InvalidInput(str(error)) from error
        if isinstance(payload, kserve.InferRequest):
            return self._v2_response(payload, answer)
        return self._v1_response(answer)

    def get_input_types(self) -> list[dict[str, object]]:
        """Columns of a v2 request."""
        inputs = self._model.inputs
        text = {*inputs.categorical, *self._about}
        names = (*inputs.request, *self._about)
        return [{"name": name, "datatype": "BYTES" if name in text else "FP64", "shape": [-1]} for name in names]

    def get_output_types(self) -> list[dict[str, object]]:
        """Columns of a v2 response."""
        kinds = {"probability": "FP64", "uplift": "FP64", "act": "BOOL", "version": "INT64"}
        return [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in kinds.items()]

    def _columns(self, payload: object) -> Mapping[str, list[object]]:
        if isinstance(payload, kserve.InferRequest):
            return {tensor.name: _tensor_values(tensor) for tensor in payload.inputs}
        return columns_of_instances(payload, self._wanted, self._model.inputs.request)

    async def _answer(self, batch: Batch) -> Answer:
        frame, source = await self._with_history(batch)
        decision = await asyncio.get_running_loop().run_in_executor(self._worker, self._model.act, frame)
        return Answer(decision.probability, decision.uplift, decision.act, source)

    async def _with_history(self, batch: Batch) -> tuple[pd.DataFrame, HistorySource]:
        names = self._model.inputs.history
        if not names or names[0] in batch.frame:
            return batch.frame, "request"
        if self._history is None or not any(batch.units):
            return batch.frame, "absent"
        found = await self._history.of([self._pseudonym(unit) for unit in batch.units], batch.times)
        if found is None:
            return batch.frame, "absent"
        return pd.concat([batch.frame, found[list(names)].reset_index(drop=True)], axis=1), "store"

    def _pseudonym(self, unit: str | None) -> str:
        """The id under which the store knows a unit; an instance without one is nobody that the store knows."""
        if unit is None:
            return "no unit"
        return unit if _PSEUDONYM.fullmatch(unit) else pseudonym(unit, self._key)

    def _v1_response(self, answer: Answer) -> dict[str, Any]:
        return {
            "predictions": [
                {
                    "probability": probability,
                    "uplift": uplift,
                    "act": act,
                    "version": self._version,
                    "history": answer.history,
                }
                for probability, uplift, act in zip(
                    answer.probability.tolist(), answer.uplift.tolist(), answer.act.tolist(), strict=True
                )
            ]
        }

    def _v2_response(self, request: kserve.InferRequest, answer: Answer) -> kserve.InferResponse:
        rows = len(answer.act)
        columns = {
            "probability": ("FP64", answer.probability.astype(np.float64)),
            "uplift": ("FP64", answer.uplift.astype(np.float64)),
            "act": ("BOOL", answer.act.astype(np.bool_)),
            "version": ("INT64", np.full(rows, self._version, dtype=np.int64)),
        }
        outputs = []
        for name, (kind, values) in columns.items():
            output = kserve.InferOutput(name=name, shape=[rows], datatype=kind)
            output.set_data_from_numpy(values, binary_data=request.use_binary_outputs)
            outputs.append(output)
        return kserve.InferResponse(
            response_id=request.id or uuid4().hex,  # KServe's own answer to a request without an id is a 500
            model_name=self.name,
            model_version=str(self._version),
            requested_outputs=request.request_outputs,
            infer_outputs=outputs,
            parameters={"history": answer.history},
            use_binary_outputs=request.use_binary_outputs,
        )


def _tensor_values(tensor: kserve.InferInput) -> list[object]:
    """Values of a v2 tensor of shape [n] or [n, 1].

    Raises:
        BadInput: It has another shape or type, or its data do not fit them.
    """
    shape = list(tensor.shape)
    if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise BadInput(f"tensor '{tensor.name}' has shape {shape}.", remedy="Send one tensor per column, of shape [n].")
    if tensor.datatype not in _V2_NUMBERS | {"BOOL", "BYTES"}:
        raise BadInput(f"tensor '{tensor.name}' has datatype '{tensor.datatype}'.", remedy="Use FP64, INT64 or BYTES.")
    if isinstance(tensor.data, list):
        values = [_flat(value) for value in tensor.data]
    else:
        try:
            values = tensor.as_numpy().ravel().tolist()
        except (InvalidInput, ValueError, TypeError) as error:
            raise BadInput(f"tensor '{tensor.name}': its data do not fit its shape and type: {error}") from error
    if len(values) != shape[0]:
        raise BadInput(f"tensor '{tensor.name}' has shape {shape} but {len(values)} values.")
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]


def _flat(value: object) -> object:
    return value[0] if isinstance(value, list) and len(value) == 1 else value
