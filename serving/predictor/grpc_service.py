"""The Open Inference Protocol over gRPC: KServe's servicer, with a leaner way to a prediction."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import uuid4

import grpc
import numpy as np
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from serving.predictor.engine import Answer, Engine
from serving.predictor.payload import MAX_BODY_BYTES, Column
from serving.predictor.tensors import DTYPES, Output, from_bytes, outputs, rows_of, text
from serving.predictor.tracing import Tracing
from serving.predictor.v2 import history_word, wanted_outputs
from trimtab.errors import BadInput

# Where a message keeps the values of each type, where they are not raw bytes.
_CONTENTS: Final = {
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "UINT64": "uint64_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}
# As wide as the field, and no float for a whole number: it may be somebody's id.
_ARRAYS: Final = {
    "uint_contents": np.uint32,
    "int_contents": np.int32,
    "uint64_contents": np.uint64,
    "int64_contents": np.int64,
    "fp32_contents": np.float32,
    "fp64_contents": np.float64,
    "bool_contents": np.bool_,
}


class PredictorServicer(InferenceServicer):
    """Answers gRPC calls; all but `ModelInfer` are KServe's.

    Args:
        engine: Answers batches.
        data_plane: KServe's view of the model, for the other calls.
        repository: KServe's repository extension.
        tracing: Makes a span of each prediction; None for none.
    """

    def __init__(
        self,
        engine: Engine,
        data_plane: DataPlane,
        repository: ModelRepositoryExtension,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        super().__init__(data_plane, repository)
        self._engine = engine
        self._tracing = tracing

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Answer a prediction."""
        began = time.perf_counter()
        status = 500
        try:
            answer = await self._answered(request, context)
            status = 200
        except (InvalidInput, ModelNotFound):
            status = 400
            raise
        finally:
            self._engine.metrics.answered("grpc", status=status, seconds=time.perf_counter() - began)
        return answer

    async def RepositoryModelUnload(self, request: Any, context: Any) -> None:  # noqa: N802 - the protocol's name
        """Refuse: a server serves one version for as long as it runs."""
        del request
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "a server serves one version for as long as it runs.")

    async def _answered(self, request: Any, context: Any) -> Any:
        if self._tracing is None:
            return await infer(self._engine, request)
        headers = {name.encode(): str(value).encode() for name, value in context.invocation_metadata()}
        with self._tracing.span("grpc", headers):
            return await infer(self._engine, request)


async def infer(engine: Engine, request: Any) -> Any:
    """Answer a `ModelInferRequest` with a `ModelInferResponse`.

    Raises:
        InvalidInput: The request is not as the protocol or the model wants it.
        ModelNotFound: It asks for another model or version.
    """
    if request.model_name != engine.name:
        raise ModelNotFound(request.model_name[:80])
    if request.model_version not in ("", str(engine.version)):
        raise ModelNotFound(f"{engine.name} version {request.model_version[:80]}")
    try:
        wanted = wanted_outputs([(output.name, None) for output in request.outputs], binary=False)
        batch = engine.reader.columns(columns_of(request))
        engine.metrics.batch("grpc", len(batch.units))
        answer = await engine.answer(batch)
    except BadInput as error:
        raise InvalidInput(str(error)) from error
    return _response(engine, request, answer, wanted)


async def serve(servicer: PredictorServicer, *, host: str, port: int, shared: bool) -> Any:
    """Start the gRPC server; returns it.

    Args:
        servicer: Answers the calls.
        host: Address to bind.
        port: Port to bind.
        shared: Whether other workers bind the same port.

    Raises:
        RuntimeError: The port is taken.
    """
    server = grpc.aio.server(
        interceptors=(ExceptionToStatusInterceptor(),),
        options=[
            ("grpc.max_receive_message_length", MAX_BODY_BYTES),
            ("grpc.max_send_message_length", MAX_BODY_BYTES),
            ("grpc.so_reuseport", int(shared)),
        ],
    )
    add_GRPCInferenceServiceServicer_to_server(servicer, server)
    server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    await server.start()
    return server


def columns_of(request: Any) -> Mapping[str, Column]:
    """The tensors of a `ModelInferRequest` by name.

    Raises:
        BadInput: They are not as the protocol wants them.
    """
    raw: Sequence[bytes] = request.raw_input_contents
    tensors = request.inputs
    if raw and len(raw) != len(tensors):
        raise BadInput(f"the request has {len(tensors)} tensors but the bytes of {len(raw)}.")
    columns: dict[str, Column] = {}
    for position, tensor in enumerate(tensors):
        name, datatype = tensor.name, tensor.datatype
        if name in columns:
            raise BadInput(f"tensor {name!r:.60} is there twice.")
        rows = rows_of(name, datatype, tensor.shape)
        columns[name] = from_bytes(name, datatype, rows, raw[position]) if raw else _contents(name, tensor, rows)
    return columns


def _contents(name: str, tensor: Any, rows: int) -> Column:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise BadInput(f"tensor '{name}' of {tensor.datatype} can only come as raw bytes.")
    values = getattr(tensor.contents, field)
    if len(values) != rows:
        raise BadInput(f"tensor '{name}' has shape [{rows}] but {len(values)} values in '{field}'.")
    if tensor.datatype == "BYTES":
        return [text(name, value) for value in values]
    return np.fromiter(values, dtype=_ARRAYS[field], count=rows)


def _response(engine: Engine, request: Any, answer: Answer, wanted: Mapping[str, bool]) -> Any:
    """An answer in the form that the request came in: raw bytes, or typed values."""
    actions = answer.actions
    tensors = {one.name: one for one in outputs(actions.probability, actions.uplift, actions.act, engine.version)}
    response = pb.ModelInferResponse(
        model_name=engine.name, model_version=str(engine.version), id=request.id or uuid4().hex
    )
    response.parameters["history"].string_param = history_word(answer.history)
    for name in wanted:
        output = tensors[name]
        tensor = response.outputs.add(name=name, datatype=output.datatype, shape=[len(output.values)])
        if request.raw_input_contents:
            response.raw_output_contents.append(output.as_bytes())
        else:
            _put(tensor.contents, output)
    return response


def _put(contents: Any, output: Output) -> None:
    getattr(contents, _CONTENTS[output.datatype]).extend(output.values.tolist())


assert DTYPES.keys() - _CONTENTS.keys() == {"FP16"}  # which the message has no field for
