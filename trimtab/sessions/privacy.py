"""Keeps people out of the data: pseudonyms for those who must be told apart, and a search for those who slipped in.

A pseudonym is the HMAC-SHA256 of the value under a secret key, cut to 80 bits: the same person has the same pseudonym
in every file read with that key, and without the key nobody can try candidates. The search reads content, not only
names, because personal data arrive under innocent names.
"""

import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pandas as pd

from trimtab.errors import BadInput

KEY_VARIABLE = "TRIMTAB_PSEUDONYM_KEY"
KEY_FILE = "pseudonym.key"
_SHORTEST_KEY = 16
_PREFIX = "p-"  # keeps a pseudonym from ever being read as a number
_DIGITS = 20
_PSEUDONYM = re.compile(f"{_PREFIX}[0-9a-f]{{{_DIGITS}}}")

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_PHONE = re.compile(
    r"(?:\+|00)[1-9](?:[ ().\-/]?\d){6,13}|\(?\d{3}\)?[ .\-]\d{3}[ .\-]\d{4}|0\d{2,4}[ /\-]\d{3,4}[ \-]?\d{3,4}"
)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_CARD = re.compile(r"[3-6]\d{3}(?:[ -]?\d{4}){2}[ -]?\d{1,7}|3[47]\d{2}[ -]?\d{6}[ -]?\d{5}")
# A cheap first look: a value without any of these is none of the four kinds.
_CANDIDATE = re.compile(r"@|\d.*\d.*\d|:.*:")


@dataclass(frozen=True, slots=True)
class PersonalContent:
    """What was found in one column.

    Attributes:
        kind: Such as `e-mail address`.
        values: The distinct values that hold it.
        share: Share of the column's distinct values.
    """

    kind: str
    values: frozenset[str]
    share: float


def load_key(home: Path) -> bytes:
    """The secret key of this installation.

    It is `TRIMTAB_PSEUDONYM_KEY` where that is set, or else a key that is made once and kept, readable by its owner
    alone, in the state folder. Whoever loses the key cannot link new data to old pseudonyms.

    Raises:
        BadInput: The variable is set to fewer than 16 characters.
    """
    given = os.environ.get(KEY_VARIABLE)
    if given is not None:
        if len(given) < _SHORTEST_KEY:
            raise BadInput(
                f"{KEY_VARIABLE} has {len(given)} characters; a key that cannot be guessed needs {_SHORTEST_KEY}.",
                remedy='Make one with `python -c "import secrets; print(secrets.token_hex(32))"`.',
            )
        return given.encode()
    path = home / KEY_FILE
    home.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create_key(path)
    return path.read_bytes()


def _create_key(path: Path) -> None:
    """Write a new key so that of several processes at once exactly one wins, and no reader sees half of it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def pseudonym(value: str, key: bytes) -> str:
    """The stand-in of one value: `p-` and 20 hex digits.

    >>> pseudonym("ann@example.org", b"a key of sixteen bytes")
    'p-7da11932b8f5816a9d5e'
    """
    return _PREFIX + hmac.digest(key, value.encode(), "sha256").hex()[:_DIGITS]


def is_pseudonym(value: str) -> bool:
    """Whether a value looks like a pseudonym.

    >>> is_pseudonym("p-7da11932b8f5816a9d5e"), is_pseudonym("ann@example.org")
    (True, False)
    """
    return _PSEUDONYM.fullmatch(value) is not None


def unit_pseudonym(unit: str, key: bytes) -> str:
    """The pseudonym of a unit that callers name by either: one that is a pseudonym stays what it is."""
    return unit if is_pseudonym(unit) else pseudonym(unit, key)


def pseudonymise(values: pd.Series, key: bytes) -> pd.Series:
    """Replace each text by its pseudonym, missing values kept; each distinct value is hashed once."""
    codes, distinct = pd.factorize(values)
    stand_ins = pd.Series([*(pseudonym(str(value), key) for value in distinct), None], dtype=object)
    return pd.Series(stand_ins.to_numpy()[codes], index=values.index, name=values.name, dtype=object)


def mask(text: str, key: bytes) -> str:
    """Free text with each piece of personal data in it replaced by a pseudonym."""
    if not _CANDIDATE.search(text):
        return text
    masked = _EMAIL.sub(lambda found: pseudonym(found.group(), key), text)
    return pseudonym(masked, key) if any(_is(kind, masked.strip()) for kind in _WHOLE) else masked


def find_personal(values: Iterable[str | None]) -> PersonalContent | None:
    """Look for e-mail addresses, phone numbers, network addresses and card numbers in a column's values.

    Args:
        values: The values; repeated ones count once.

    Returns:
        The kind that most values hold, or None where no value holds any. An e-mail address is found anywhere in a
        text; the other kinds must be the whole value, because digits inside a longer text mean many things.
    """
    distinct = {str(value).strip() for value in values if isinstance(value, str)}
    candidates = [value for value in distinct if _CANDIDATE.search(value)]
    found = {kind: frozenset(value for value in candidates if _is(kind, value)) for kind in (_MAIL, *_WHOLE)}
    kind = max(found, key=lambda name: len(found[name]))
    if not found[kind]:
        return None
    return PersonalContent(kind, found[kind], len(found[kind]) / len(distinct))


def name_suggests_personal(column: str) -> bool:
    """Whether a column's name says that it is about a person, e.g. `Email` or `billing_address`.

    >>> name_suggests_personal("customerEmail"), name_suggests_personal("page_weight")
    (True, False)
    """
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", column).lower()
    return _PERSONAL_NAME.search(words) is not None


_PERSONAL_NAME = re.compile(
    r"(?:^|[_\W])(?:e_?mail|phone|telephone|ip|ip_?address|address|street|(?:first|last|full|sur|user|nick)_?name|"
    r"birth_?(?:date|day)?|dob|ssn|passport|iban|credit_?card|card_?number)(?:$|[_\W])"
)
_MAIL = "e-mail address"
_WHOLE = ("card number", "network address", "phone number")


def _is(kind: str, value: str) -> bool:
    if kind == _MAIL:
        return _EMAIL.search(value) is not None
    if kind == "phone number":
        return _PHONE.fullmatch(value) is not None
    if kind == "network address":
        return _ADDRESS.fullmatch(value) is not None and _is_address(value)
    return _CARD.fullmatch(value) is not None and _passes_luhn(value)


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _passes_luhn(value: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    digits = [int(character) for character in reversed(value) if character.isdigit()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
