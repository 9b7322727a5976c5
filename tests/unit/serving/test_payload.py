from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from serving.predictor.payload import MAX_INSTANCES, batch_of, columns_of_instances
from trimtab.errors import BadInput
from trimtab.sessions.inputs import model_inputs
from trimtab.testing.shop import shop_spec

INPUTS = model_inputs(shop_spec())
ROW: dict[str, object] = {"lcp_ms": 1200.5, "api_ms": None, "device": "mobile"}


def _columns(**changes: Sequence[object]) -> Mapping[str, Sequence[object]]:
    return {name: [value] for name, value in ROW.items()} | changes


def test_reads_rows_into_columns_and_ignores_the_rest() -> None:
    body = {"instances": [{**ROW, "colour": "red"}, {**ROW, "lcp_ms": 7, "user_id": "u"}]}
    columns = columns_of_instances(body, (*INPUTS.request, "user_id"), INPUTS.request)
    assert columns == {"lcp_ms": [1200.5, 7], "api_ms": [None, None], "device": ["mobile", "mobile"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"x", "no list 'instances'"),
        ([ROW], "no list 'instances'"),
        ({"instances": ROW}, "no list 'instances'"),
        ({"instances": []}, "0 instances"),
        ({"instances": [ROW] * (MAX_INSTANCES + 1)}, "10001 instances"),
        ({"instances": [ROW, 5]}, r"instances\[1\] is not an object"),
        ({"instances": [ROW, {"lcp_ms": 1}]}, r"instances\[1\] lacks 'api_ms', 'device'"),
    ],
)
def test_says_what_is_wrong_with_a_body(body: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        columns_of_instances(body, INPUTS.request, INPUTS.request)


def test_makes_a_frame_with_missing_values() -> None:
    batch = batch_of(_columns(), INPUTS, unit="user_id", timestamp="began")
    assert batch.frame["lcp_ms"].tolist() == [1200.5]
    assert np.isnan(batch.frame["api_ms"]).all()
    assert list(batch.frame.columns) == ["lcp_ms", "api_ms", "device"]
    assert (batch.units, batch.times) == ((None,), (None,))


def test_takes_units_and_times_where_they_are_given() -> None:
    columns = _columns(user_id=[17], began=["2026-03-01T12:00:00Z"])
    batch = batch_of(columns, INPUTS, unit="user_id", timestamp="began")
    assert (batch.units, batch.times) == (("17",), (datetime(2026, 3, 1, 12, tzinfo=UTC),))


@pytest.mark.parametrize(
    ("sent", "read"), [(True, "true"), (False, "false"), (3.0, "3"), (3, "3"), (" mobile ", "mobile"), ("", None)]
)
def test_reads_a_category_as_validation_does(sent: object, read: str | None) -> None:
    assert batch_of(_columns(device=[sent]), INPUTS).frame["device"].tolist() == [read]


@pytest.mark.parametrize(("sent", "unit"), [(17.0, "17"), (" u17 ", "u17"), ("", None), ({}, None)])
def test_reads_a_unit_as_validation_does(sent: object, unit: str | None) -> None:
    assert batch_of(_columns(user_id=[sent]), INPUTS, unit="user_id").units == (unit,)


def test_takes_history_only_where_it_is_complete() -> None:
    history: dict[str, Sequence[object]] = {name: [1.0] for name in INPUTS.history}
    assert set(INPUTS.history) <= set(batch_of(_columns(**history), INPUTS).frame)
    history.popitem()
    assert not set(INPUTS.history) & set(batch_of(_columns(**history), INPUTS).frame)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lcp_ms": ["1200"]}, "'lcp_ms' of instance 0 is '1200', not a number"),
        ({"lcp_ms": [{"a": 1}]}, "not a number"),
        ({"lcp_ms": [float("inf")]}, "infinite"),
        ({"lcp_ms": [10**400]}, "too large"),
        ({"lcp_ms": [1, 2]}, "has 2 values where others have 1|has 1 values where others have 2"),
        ({"device": [["mobile"]]}, "not text"),
        ({"user_id": [1, 2]}, "does not have 1 values"),
        ({"began": ["yesterday"]}, "not a time"),
        ({"began": ["2026-03-01T12:00:00"]}, "without a zone"),
    ],
)
def test_says_which_value_is_wrong(changes: dict[str, Sequence[object]], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        batch_of(_columns(**changes), INPUTS, unit="user_id", timestamp="began")


def test_names_absent_columns() -> None:
    with pytest.raises(BadInput, match="lacks 'device'"):
        batch_of({"lcp_ms": [1], "api_ms": [1]}, INPUTS)
