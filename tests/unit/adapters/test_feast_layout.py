import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Bool, Float32, Float64, Int64, String, UnixTimestamp

from trimtab.adapters.feast.layout import Header, RowLayout, header, micros
from trimtab.errors import BadInput

MOMENT = 1_767_225_600_000_001


def view(**fields: object) -> FeatureView:
    entity = Entity(name="user_id", join_keys=["user_id"], value_type=ValueType.STRING)
    schema = [Field(name="user_id", dtype=String), *(Field(name=name, dtype=dtype) for name, dtype in fields.items())]
    source = FileSource(path="unused.parquet", timestamp_field="at")
    return FeatureView(name="view", entities=[entity], schema=schema, source=source)


def every_type() -> FeatureView:
    return view(exact=Float64, short=Float32, count=Int64, flag=Bool, when=UnixTimestamp)


def rows() -> pa.Table:
    return pa.table(
        {
            "exact": pa.array([0.1, None, math.nan]),
            "short": pa.array([1.5, -2.0, None], pa.float32()),
            "count": pa.array([2**53 + 1, None, -7]),
            "flag": pa.array([True, False, None]),
            "when": pa.array([datetime(2026, 1, 1, tzinfo=UTC), None, datetime(1969, 12, 31, tzinfo=UTC)]),
        }
    )


def test_table_comes_back_with_its_types() -> None:
    layout = RowLayout.of(every_type())
    first, second, third = (layout.unpack(record, None) for record in layout.pack_table(rows(), np.full(3, MOMENT)))
    assert first["exact"] == Value(double_val=0.1)
    assert first["short"] == Value(float_val=1.5)
    assert first["count"] == Value(int64_val=2**53 + 1)
    assert first["flag"] == Value(bool_val=True)
    assert first["when"] == Value(unix_timestamp_val=1_767_225_600)
    assert second["flag"] == Value(bool_val=False)
    assert third["when"] == Value(unix_timestamp_val=-86_400)
    for missing in (second["exact"], third["exact"], third["short"], second["count"], third["flag"], second["when"]):
        assert missing.WhichOneof("val") is None


def test_packing_values_equals_packing_tables() -> None:
    layout = RowLayout.of(every_type())
    for record in layout.pack_table(rows(), np.full(3, MOMENT)):
        again = layout.pack(layout.unpack(record, None), MOMENT)
        assert layout.unpack(again, None) == layout.unpack(record, None)
        assert header(record) == Header(layout.id, 0, MOMENT)
        assert header(again) == Header(layout.id, 1, MOMENT)


def test_only_wanted_features_are_read() -> None:
    layout = RowLayout.of(every_type())
    record = layout.pack_table(rows(), np.full(3, MOMENT))[0]
    assert list(layout.unpack(record, ["flag", "exact", "unknown"])) == ["exact", "flag"]


def test_description_brings_back_the_layout() -> None:
    layout = RowLayout.of(every_type())
    assert RowLayout.parse(layout.text) == layout
    assert RowLayout.parse(layout.text).id == layout.id


def test_another_order_is_another_layout() -> None:
    assert RowLayout.of(view(a=Float64, b=Float64)).id != RowLayout.of(view(b=Float64, a=Float64)).id


def test_text_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="'plan' of view 'view' is STRING"):
        RowLayout.of(view(plan=String))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_of_any_unit_are_microseconds(unit: str) -> None:
    column = pa.chunked_array([pa.array([1], pa.timestamp("s", "Europe/Berlin")).cast(pa.timestamp(unit, "UTC"))])
    assert micros(column).tolist() == [1_000_000]
