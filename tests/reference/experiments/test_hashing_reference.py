import pytest

from trimtab.experiments.hashing import digest, salted_hash, salted_hashes


def test_smhasher_verification_value() -> None:
    """The published check of MurmurHash3 x64 128 (SMHasher's `MurmurHash3F`, 0x6384BA69)."""
    hashes = b""
    for length in range(256):
        words = digest(bytes(range(length)), seed=256 - length)
        hashes += b"".join(word.to_bytes(8, "little") for word in words)
    low, _ = digest(hashes)
    assert low & 0xFFFFFFFF == 0x6384BA69


def test_against_another_implementation() -> None:
    mmh3 = pytest.importorskip("mmh3")
    prefix = b"".join(word.to_bytes(8, "little") for word in digest(b"salt"))
    units = ["", *("é" * (size % 3) + "u" * size for size in range(70))]
    expected = [mmh3.hash64(prefix + unit.encode(), signed=False)[0] for unit in units]
    assert salted_hashes(units, "salt").tolist() == expected
    assert [salted_hash(unit, "salt") for unit in units] == expected
