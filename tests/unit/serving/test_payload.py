from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from serving.predictor.payload import MAX_INSTANCES, Column, RequestReader
from trimtab.errors import BadInput
from trimtab.models.bundle import ConversionModel

ROW: dict[str, object] = {"lcp_ms": 1200.5, "api_ms": None, "device": "mobile"}


@pytest.fixture
def reader(model: ConversionModel) -> RequestReader:
    return RequestReader(model.manifest.encoder, unit="user_id", timestamp="began")


def _columns(**changes: Sequence[object]) -> dict[str, Column]:
    return {**{name: [value] for name, value in ROW.items()}, **changes}


def test_reads_rows_as_the_encoder_does_and_ignores_the_rest(reader: RequestReader, model: ConversionModel) -> None:
    rows = [{**ROW, "colour": "red"}, {**ROW, "lcp_ms": 7, "api_ms": True, "device": None, "user_id": "u"}]
    batch = reader.instances({"instances": rows})
    numeric, codes = model.encode_rows(rows)
    np.testing.assert_array_equal(batch.numeric, numeric)
    np.testing.assert_array_equal(batch.codes, codes)
    assert (batch.units, batch.times, batch.carries_history) == ((None, "u"), (None, None), False)


def test_reads_columns_as_it_reads_rows(reader: RequestReader) -> None:
    rows = [ROW, {**ROW, "lcp_ms": 9, "device": "desktop", "user_id": 17, "began": "2026-03-01T12:00:00Z"}]
    columns: dict[str, Column] = {
        "lcp_ms": np.array([1200.5, 9], dtype=np.float32),
        "api_ms": np.array([np.nan, np.nan]),
        "device": ["mobile", "desktop"],
        "user_id": [None, 17],
        "began": [None, "2026-03-01T12:00:00Z"],
    }
    from_rows, from_columns = reader.instances({"instances": rows}), reader.columns(columns)
    np.testing.assert_array_equal(from_rows.numeric, from_columns.numeric)
    np.testing.assert_array_equal(from_rows.codes, from_columns.codes)
    assert from_rows.units == from_columns.units == (None, "17")
    assert from_rows.times == from_columns.times == (None, datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"x", "no list 'instances'"),
        ([ROW], "no list 'instances'"),
        ({"instances": ROW}, "no list 'instances'"),
        ({"instances": []}, "0 instances"),
        ({"instances": [ROW] * (MAX_INSTANCES + 1)}, "10001 instances"),
        ({"instances": [ROW, 5]}, r"instances\[1\] is not an object"),
        ({"instances": [ROW, None]}, r"instances\[1\] is not an object"),
        ({"instances": [5]}, r"instances\[0\] is not an object"),
        ({"instances": [None]}, r"instances\[0\] is not an object"),
        ({"instances": [[{}]]}, r"instances\[0\] is not an object"),
        ({"instances": [ROW, [1, 2, 3]]}, r"instances\[1\] is not an object"),
        ({"instances": [ROW, "text"]}, r"instances\[1\] is not an object"),
        ({"instances": [ROW, {"lcp_ms": 1}]}, r"instances\[1\] lacks 'api_ms', 'device'"),
    ],
)
def test_says_what_is_wrong_with_a_body(body: object, message: str, reader: RequestReader) -> None:
    with pytest.raises(BadInput, match=message):
        reader.instances(body)


@pytest.mark.parametrize(
    ("sent", "read"), [(True, "true"), (False, "false"), (3.0, "3"), (3, "3"), (" mobile ", "mobile"), ("", None)]
)
def test_reads_a_category_as_validation_does(
    sent: object, read: str | None, reader: RequestReader, model: ConversionModel
) -> None:
    _, codes = model.encode_rows([{**ROW, "device": read}])
    np.testing.assert_array_equal(reader.columns(_columns(device=[sent])).codes, codes)


@pytest.mark.parametrize(("sent", "unit"), [(17.0, "17"), (" u17 ", "u17"), ("", None), ({}, None)])
def test_reads_a_unit_as_validation_does(sent: object, unit: str | None, reader: RequestReader) -> None:
    assert reader.columns(_columns(user_id=[sent])).units == (unit,)


def test_takes_history_only_where_it_is_complete(reader: RequestReader, model: ConversionModel) -> None:
    history: dict[str, object] = dict.fromkeys(model.inputs.history, 2.0)
    carried = reader.instances({"instances": [{**ROW, **history}]})
    np.testing.assert_array_equal(carried.numeric, model.encode_rows([{**ROW, **history}])[0])
    columns = reader.columns(_columns() | {name: [value] for name, value in history.items()})
    np.testing.assert_array_equal(columns.numeric, carried.numeric)
    assert carried.carries_history
    assert columns.carries_history
    history.popitem()
    partial = reader.instances({"instances": [{**ROW, **history}]})
    np.testing.assert_array_equal(partial.numeric, reader.instances({"instances": [ROW]}).numeric)
    assert not partial.carries_history


def test_a_number_beyond_single_precision_is_the_largest_there_is(reader: RequestReader) -> None:
    numeric = reader.instances({"instances": [{**ROW, "lcp_ms": 1e300}, {**ROW, "lcp_ms": -(10**40)}]}).numeric
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(numeric[:, 0], [largest, -largest])
    assert np.isnan(numeric[:, 1]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lcp_ms": ["1200"]}, "'lcp_ms' of instance 0 is '1200', not a number"),
        ({"lcp_ms": [{"a": 1}]}, "not a number"),
        ({"lcp_ms": [float("inf")]}, "'lcp_ms' holds an infinite number"),
        ({"lcp_ms": np.array([-np.inf])}, "'lcp_ms' holds an infinite number"),
        ({"lcp_ms": [10**400]}, "too large"),
        ({"lcp_ms": [1, 2]}, "has 2 values where others have 1|has 1 values where others have 2"),
        ({"device": [["mobile"]]}, "'device' of instance 0 is .*not text"),
        ({"user_id": [1, 2]}, "'user_id' has 2 values where others have 1"),
        ({"began": ["yesterday"]}, "not a time"),
        ({"began": ["2026-03-01T12:00:00"]}, "without a zone"),
    ],
    ids=str,
)
def test_says_which_value_is_wrong(changes: dict[str, Sequence[object]], message: str, reader: RequestReader) -> None:
    with pytest.raises(BadInput, match=message):
        reader.columns(_columns(**changes))
    if all(len(values) == 1 for values in changes.values()):
        row = {**ROW, **{name: values[0] for name, values in changes.items()}}
        if isinstance(row["lcp_ms"], np.floating):
            row["lcp_ms"] = float(row["lcp_ms"])
        with pytest.raises(BadInput, match=message):
            reader.instances({"instances": [row]})


def test_names_absent_columns(reader: RequestReader) -> None:
    with pytest.raises(BadInput, match="lacks 'device'"):
        reader.columns({"lcp_ms": [1], "api_ms": [1]})
