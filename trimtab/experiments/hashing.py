"""MurmurHash3 x64 128, so that a unit meets the same fate in every process, platform and Python version.

Python's `hash` changes with the process and pandas' with the release. MurmurHash3 is a public, frozen algorithm
(A. Appleby, SMHasher, `MurmurHash3_x64_128`), so that a router in any language reproduces an assignment from the words
"murmur3 x64 128 of the 16-byte digest of the salt followed by the unit in UTF-8". The scalar path serves one request;
the vectorised path hashes a column without a Python loop over its rows. Both give the same bits.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trimtab.errors import BadInput

Units: TypeAlias = Sequence[str] | Sequence[int] | npt.NDArray[np.generic]
UInts: TypeAlias = npt.NDArray[np.uint64]

_MASK = (1 << 64) - 1
_C1 = 0x87C37B91114253D5
_C2 = 0x4CF5AD432745937F
_ROWS_PER_CHUNK = 1 << 15  # Keeps each temporary array within a core's second-level cache.
_TAIL_MASKS = np.array([(1 << (8 * width)) - 1 for width in range(9)], dtype=np.uint64)


def digest(key: bytes, *, seed: int = 0) -> tuple[int, int]:
    """MurmurHash3 x64 128 of `key` as two unsigned 64-bit words.

    Args:
        key: Any bytes.
        seed: Unsigned 32-bit seed.

    >>> [hex(word) for word in digest(b"hello")]
    ['0xcbd8a7b341bd9b02', '0x5b1e906a48ae1d19']
    """
    h1 = h2 = seed
    whole = len(key) // 16 * 16
    for start in range(0, whole, 16):
        h1, h2 = _mix_block(h1, h2, *_words(key[start : start + 16]))
    k1, k2 = _words(key[whole:].ljust(16, b"\0"))
    h2 ^= _scramble(k2, _C2, 33, _C1)
    h1 ^= _scramble(k1, _C1, 31, _C2)
    return _finish(h1, h2, len(key))


def salted_hash(unit: str, salt: str) -> int:
    """First 64 bits of MurmurHash3 over the salt's digest followed by the unit.

    Args:
        unit: What is randomised.
        salt: Names the randomisation; different salts give independent hashes of the same unit.

    >>> salted_hash("user-1", "checkout") == salted_hash("user-1", "checkout") != salted_hash("user-1", "banner")
    True
    """
    return digest(_prefix(salt) + unit.encode())[0]


def salted_hashes(units: Units, salt: str) -> UInts:
    """`salted_hash` of every unit, vectorised.

    Args:
        units: Text or integers (hashed as their decimal text), shape [rows].
        salt: Names the randomisation.

    Returns:
        Unsigned 64-bit hashes, shape [rows].

    Raises:
        BadInput: A unit is missing, or is neither text nor integer.
    """
    return salted_hash_table(units, [salt])[0]


def salted_hash_table(units: Units, salts: Sequence[str]) -> UInts:
    """`salted_hashes` for several salts, which share the reading of the units.

    Returns:
        Unsigned 64-bit hashes, shape [salts, rows].

    Raises:
        BadInput: A unit is missing, or is neither text nor integer.
    """
    table = np.empty((len(salts), len(units)), dtype=np.uint64)
    for rows, hashes in hash_chunks(units, salts):
        table[:, rows] = hashes
    return table


def hash_chunks(units: Units, salts: Sequence[str]) -> Iterator[tuple[slice, UInts]]:
    """`salted_hash_table` chunk by chunk, so that what is made of the hashes stays in a core's cache too.

    Yields:
        Rows of the chunk, and their hashes, shape [salts, rows of the chunk].

    Raises:
        BadInput: A unit is missing, or is neither text nor integer.
    """
    starts = [_mix_block(0, 0, *_words(_prefix(salt))) for salt in salts]
    for first in range(0, len(units), _ROWS_PER_CHUNK):
        rows = slice(first, first + _ROWS_PER_CHUNK)
        yield rows, _hash_text(_text(units[rows], first), starts)


@lru_cache(maxsize=4096)  # there are as many salts as questions of running experiments, and units by the million
def _prefix(salt: str) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in digest(salt.encode()))


def _words(block: bytes) -> tuple[int, int]:
    return int.from_bytes(block[:8], "little"), int.from_bytes(block[8:], "little")


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK


def _scramble(word: int, first: int, bits: int, second: int) -> int:
    return _rotate(word * first & _MASK, bits) * second & _MASK


def _mix_block(h1: int, h2: int, k1: int, k2: int) -> tuple[int, int]:
    h1 ^= _scramble(k1, _C1, 31, _C2)
    h1 = ((_rotate(h1, 27) + h2) * 5 + 0x52DCE729) & _MASK
    h2 ^= _scramble(k2, _C2, 33, _C1)
    h2 = ((_rotate(h2, 31) + h1) * 5 + 0x38495AB5) & _MASK
    return h1, h2


def _finish(h1: int, h2: int, length: int) -> tuple[int, int]:
    h1, h2 = h1 ^ length, h2 ^ length
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    h1, h2 = _avalanche(h1), _avalanche(h2)
    h1 = (h1 + h2) & _MASK
    return h1, (h2 + h1) & _MASK


def _avalanche(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33


def _text(units: Units, first: int) -> pa.Array:
    try:
        column = pa.array(units)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            if len(column) and not pa.types.is_integer(column.type):
                raise BadInput(f"units are of type {column.type}.", remedy="Give text or integers without gaps.")
            column = column.cast(pa.string())
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise BadInput(f"units cannot be read as text: {error}", remedy="Give text or integers.") from error
    if column.null_count:
        row = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise BadInput(f"the unit in row {row} is missing.", remedy="Drop rows without a unit before assigning.")
    return column.cast(pa.large_string())


def _hash_text(column: pa.Array, starts: Sequence[tuple[int, int]]) -> UInts:
    begins, lengths, windows = _windows(column)
    states = [tuple(np.full(len(lengths), word, dtype=np.uint64) for word in start) for start in starts]
    blocks = lengths // 16
    for block in range(int(blocks.max(initial=0))):
        rows: slice | npt.NDArray[np.int64] = slice(None) if (blocks > block).all() else np.flatnonzero(blocks > block)
        at = begins[rows] + 16 * block
        k1, k2 = _scrambles(windows[at], _C1, 31, _C2), _scrambles(windows[at + 8], _C2, 33, _C1)
        for h1, h2 in states:
            h1[rows], h2[rows] = _mix_blocks(h1[rows], h2[rows], k1, k2)
    at, left = begins + 16 * blocks, lengths - 16 * blocks
    k1 = _scrambles(windows[at] & _TAIL_MASKS[np.minimum(left, 8)], _C1, 31, _C2)
    k2 = _scrambles(windows[at + 8 * (left > 8)] & _TAIL_MASKS[np.maximum(left - 8, 0)], _C2, 33, _C1)
    total = lengths.astype(np.uint64) + np.uint64(16)
    return np.stack([_finishes(h1 ^ k1, h2 ^ k2, total) for h1, h2 in states])


def _windows(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], UInts]:
    """Where each unit begins, its length in bytes, and every 8-byte window of the text.

    A unit's words are gathered from the windows, so that no padded rows need to be built.
    """
    _, offsets_buffer, data = column.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[column.offset : column.offset + len(column) + 1]
    padded = np.zeros((data.size if data else 0) + 16, dtype=np.uint8)
    if data:
        padded[: data.size] = np.frombuffer(data, dtype=np.uint8)
    windows = np.ndarray((padded.size - 7,), dtype="<u8", buffer=padded, strides=(1,))
    return offsets[:-1], np.diff(offsets), windows


def _rotates(values: UInts, bits: int) -> UInts:
    return values << np.uint64(bits) | values >> np.uint64(64 - bits)


def _scrambles(words: UInts, first: int, bits: int, second: int) -> UInts:
    return _rotates(words * np.uint64(first), bits) * np.uint64(second)


def _mix_blocks(h1: UInts, h2: UInts, k1: UInts, k2: UInts) -> tuple[UInts, UInts]:
    h1 = h1 ^ k1
    h1 = (_rotates(h1, 27) + h2) * np.uint64(5) + np.uint64(0x52DCE729)
    h2 = h2 ^ k2
    h2 = (_rotates(h2, 31) + h1) * np.uint64(5) + np.uint64(0x38495AB5)
    return h1, h2


def _finishes(h1: UInts, h2: UInts, lengths: UInts) -> UInts:
    h1, h2 = h1 ^ lengths, h2 ^ lengths
    h1 = h1 + h2
    h2 = h2 + h1
    return _avalanches(h1) + _avalanches(h2)


def _avalanches(values: UInts) -> UInts:
    values = (values ^ values >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ values >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
    return values ^ values >> np.uint64(33)
