"""What exactly was used: the identity of a set of sessions."""

import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from trimtab.sessions.spec import DatasetSpec, dump_spec

_DIGITS = 16


def snapshot_id(frame: pd.DataFrame, spec: DatasetSpec) -> str:
    """First 16 hex digits of the SHA-256 over the spec and the rows, in their order.

    Equal content gives an equal id in every process and for every storage type: numbers count as float64, times as
    nanoseconds since 1970 in UTC, all else as text; every missing value is one.

    Args:
        frame: Accepted sessions.
        spec: Their spec.
    """
    digest = hashlib.sha256(dump_spec(spec).encode())
    digest.update(str(len(frame)).encode())
    for name in frame.columns:
        digest.update(f"\0{name}\0".encode())
        _update(digest, frame[name])
    return digest.hexdigest()[:_DIGITS]


def _update(digest: "hashlib._Hash", values: pd.Series) -> None:
    if isinstance(values.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(values.dtype):
        digest.update(b"time" + pd.DatetimeIndex(values).as_unit("ns").asi8.tobytes())
    elif pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(dtype="<f8", na_value=np.nan) + 0.0  # -0.0 becomes 0.0
        numbers[np.isnan(numbers)] = np.nan  # one bit pattern for missing
        digest.update(b"number" + np.ascontiguousarray(numbers).tobytes())
    else:
        text = pa.array(values.astype(object).where(values.notna(), None), type=pa.large_string(), from_pandas=True)
        lengths = pc.fill_null(pc.binary_length(text), -1)
        digest.update(b"text" + np.asarray(lengths, dtype="<i8").tobytes())
        digest.update("".join(text.drop_null().to_pylist()).encode())
