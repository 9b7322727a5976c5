import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.sessions.privacy import find_personal, load_key, mask, name_suggests_personal, pseudonym, pseudonymise

KEY = b"a key of sixteen bytes"


@pytest.fixture(autouse=True)
def _no_key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIMTAB_PSEUDONYM_KEY", raising=False)


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    home = tmp_path / "state"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: load_key(home), range(16)))
    assert len(keys) == 1
    assert [path.name for path in home.iterdir()] == ["pseudonym.key"]
    assert stat.S_IMODE((home / "pseudonym.key").stat().st_mode) == 0o600
    assert load_key(tmp_path / "other") not in keys


def test_the_key_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_PSEUDONYM_KEY", "0123456789abcdef")
    assert load_key(tmp_path) == b"0123456789abcdef"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("TRIMTAB_PSEUDONYM_KEY", "short")
    with pytest.raises(BadInput, match="5 characters"):
        load_key(tmp_path)


def test_a_pseudonym_is_hmac_sha256() -> None:
    # RFC 4231, test case 2
    assert pseudonym("what do ya want for nothing?", b"Jefe") == "p-5bdcc146bf60754e6a04"


def test_people_stay_apart_and_missing_stays_missing() -> None:
    users = pd.Series(["ann", "ben", None, "ann"])
    hidden = pseudonymise(users, KEY)
    assert hidden[0] == hidden[3] == pseudonym("ann", KEY)
    assert hidden[0] != hidden[1]
    assert hidden[2] is None
    assert pseudonymise(users, KEY + b"!")[0] != hidden[0]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("e-mail address", ["ann@example.org", "Ben <ben.b+shop@mail.example.co.uk>"]),
        ("phone number", ["+49 170 1234567", "(212) 555-0123", "0044 20 7946 0958", "+14155550123"]),
        ("network address", ["192.168.0.1", "2001:db8::ff00:42:8329"]),
        ("card number", ["4111 1111 1111 1111", "5500005555555559", "378282246310005"]),
    ],
)
def test_personal_content_is_found(kind: str, values: list[str]) -> None:
    found = find_personal([*values, None])
    assert found is not None
    assert (found.kind, found.share) == (kind, 1.0)
    assert all(value not in mask(value, KEY) for value in values)


@pytest.mark.parametrize(
    "value",
    [
        "mobile",
        "12:30:05",
        "2026-11-22T14:00:00Z",
        "2026-11-22 14:00:00",
        "1234567890",
        "0.000123456789",
        "4111111111111112",  # fails the check digit
        "999.1.1.1",
        "chrome 126.0",
        "user-123456",
        "a@b",
        "1e-05",
    ],
)
def test_ordinary_values_are_left_alone(value: str) -> None:
    assert find_personal([value]) is None
    assert mask(value, KEY) == value


def test_text_around_an_address_is_kept() -> None:
    assert mask("call ann@example.org today", KEY) == f"call {pseudonym('ann@example.org', KEY)} today"


@pytest.mark.parametrize("name", ["Email", "customerEmail", "billing_address", "ip", "IP-Address", "first_name", "dob"])
def test_names_that_speak_of_people(name: str) -> None:
    assert name_suggests_personal(name)


@pytest.mark.parametrize("name", ["device", "ship_ms", "page_weight", "mobile", "zip_kb", "campaign_name", "tip"])
def test_names_that_do_not(name: str) -> None:
    assert not name_suggests_personal(name)
