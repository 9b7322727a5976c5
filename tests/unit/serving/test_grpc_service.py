"""gRPC messages in this process: typed and raw tensors, and what is refused."""

import asyncio
from typing import Any

import kserve
import numpy as np
import pandas as pd
import pytest
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from serving.predictor.engine import Engine
from serving.predictor.grpc_service import columns_of, infer
from serving.predictor.model import ConversionPredictor
from trimtab.models.bundle import ConversionModel

KINDS = {"lcp_ms": "FP64", "api_ms": "FP64", "device": "BYTES"}


def _request(*, raw: bool, **more: Any) -> Any:
    request = pb.ModelInferRequest(model_name="shop", **more)
    values: dict[str, list[Any]] = {"lcp_ms": [1800.0, 900.0], "api_ms": [np.nan, 250.0], "device": [b"mobile", b"pc"]}
    for name, kind in KINDS.items():
        tensor = request.inputs.add(name=name, datatype=kind, shape=[2])
        if not raw:
            field = tensor.contents.bytes_contents if kind == "BYTES" else tensor.contents.fp64_contents
            field.extend(values[name])
        elif kind == "BYTES":
            request.raw_input_contents.append(
                b"".join(len(value).to_bytes(4, "little") + value for value in values[name])
            )
        else:
            request.raw_input_contents.append(np.array(values[name]).tobytes())
    return request


def _frame() -> pd.DataFrame:
    return pd.DataFrame({"lcp_ms": [1800.0, 900.0], "api_ms": [np.nan, 250.0], "device": ["mobile", "pc"]})


def test_answers_typed_values_with_typed_values(engine: Engine, model: ConversionModel) -> None:
    response = asyncio.run(infer(engine, _request(raw=False, id="mine")))
    by_name = {output.name: output.contents for output in response.outputs}
    expected = model.act(_frame())
    np.testing.assert_allclose(by_name["probability"].fp64_contents, expected.probability, atol=1e-6)
    assert list(by_name["act"].bool_contents) == expected.act.tolist()
    assert list(by_name["version"].int64_contents) == [4, 4]
    assert (response.id, response.model_version) == ("mine", "4")
    assert response.parameters["history"].string_param == "absent"


@pytest.mark.parametrize(
    ("datatype", "field", "value", "unit"),
    [
        ("INT64", "int64_contents", 2**53 + 1, "9007199254740993"),
        ("UINT64", "uint64_contents", 2**64 - 1, "18446744073709551615"),
        ("INT8", "int_contents", -7, "-7"),
        ("UINT32", "uint_contents", 17, "17"),
        ("FP64", "fp64_contents", 17.0, "17"),
        ("BOOL", "bool_contents", True, "true"),
    ],
)
def test_reads_a_typed_unit_as_it_was_sent(datatype: str, field: str, value: object, unit: str, engine: Engine) -> None:
    request = _request(raw=False)
    tensor = request.inputs.add(name="user_id", datatype=datatype, shape=[2])
    getattr(tensor.contents, field).extend([value, value])
    assert engine.reader.columns(columns_of(request)).units == (unit, unit)


def test_answers_raw_bytes_with_raw_bytes(engine: Engine, model: ConversionModel) -> None:
    request = _request(raw=True, model_version="4")
    request.outputs.add(name="uplift")
    response = asyncio.run(infer(engine, request))
    assert [output.name for output in response.outputs] == ["uplift"]
    np.testing.assert_allclose(np.frombuffer(response.raw_output_contents[0]), model.act(_frame()).uplift, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda request: request.raw_input_contents.pop(), "3 tensors but the bytes of 2"),
        (lambda request: setattr(request.inputs[0], "datatype", "FP32"), "takes 8 bytes, not 16"),
        (lambda request: setattr(request.inputs[0], "name", "api_ms"), "there twice"),
        (lambda request: setattr(request.inputs[0], "name", "other"), "lacks 'lcp_ms'"),
        (lambda request: request.inputs[0].shape.append(2), "shape"),
        (lambda request: request.outputs.add(name="absent"), "no output 'absent'"),
    ],
)
def test_says_what_is_wrong_with_raw_bytes(change: Any, reason: str, engine: Engine) -> None:
    request = _request(raw=True)
    change(request)
    with pytest.raises(InvalidInput, match=reason):
        asyncio.run(infer(engine, request))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda request: request.inputs[0].contents.fp64_contents.pop(), "has shape .2. but 1 values"),
        (lambda request: setattr(request.inputs[0], "datatype", "FP16"), "only come as raw bytes"),
        (lambda request: setattr(request.inputs[0], "datatype", "FP8"), "datatype 'FP8'"),
        (lambda request: request.inputs[2].contents.bytes_contents.__setitem__(0, b"\xff"), "not UTF-8"),
    ],
)
def test_says_what_is_wrong_with_typed_values(change: Any, reason: str, engine: Engine) -> None:
    request = _request(raw=False)
    change(request)
    with pytest.raises(InvalidInput, match=reason):
        asyncio.run(infer(engine, request))


@pytest.mark.parametrize("more", [{"model_version": "5"}, {}])
def test_another_model_or_version_is_not_found(more: dict[str, str], engine: Engine) -> None:
    request = _request(raw=True, **more)
    if not more:
        request.model_name = "absent"
    with pytest.raises(ModelNotFound):
        asyncio.run(infer(engine, request))


def test_kserves_own_model_answers_both_protocols(engine: Engine, model: ConversionModel) -> None:
    predictor = ConversionPredictor(engine)
    assert not predictor.load()
    asyncio.run(predictor.warm_up())
    assert predictor.load()
    rows: list[Any] = _frame().astype(object).where(_frame().notna(), None).to_dict(orient="records")
    answers: Any = asyncio.run(predictor.predict({"instances": rows}))
    inputs = []
    for name, kind in KINDS.items():
        tensor = kserve.InferInput(name, [2], kind)
        tensor.set_data_from_numpy(_frame()[name].to_numpy(dtype=object if kind == "BYTES" else float))
        inputs.append(tensor)
    response: Any = asyncio.run(predictor.predict(kserve.InferRequest("shop", inputs)))
    probability = next(output for output in response.outputs if output.name == "probability").as_numpy()
    np.testing.assert_allclose(probability, model.act(_frame()).probability, atol=1e-6)
    assert [answer["probability"] for answer in answers["predictions"]] == probability.tolist()
    with pytest.raises(InvalidInput, match="lacks"):
        asyncio.run(predictor.predict({"instances": [{}]}))


def test_describes_its_columns(engine: Engine) -> None:
    kinds = {column["name"]: column["datatype"] for column in ConversionPredictor(engine).get_input_types()}
    assert kinds == {"lcp_ms": "FP64", "api_ms": "FP64", "device": "BYTES", "user_id": "BYTES", "began": "BYTES"}
