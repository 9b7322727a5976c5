"""Options that take one of a few words."""

from typing import Literal, TypeVar

from trimtab.errors import BadInput

ChoiceT = TypeVar("ChoiceT", bound=str)
DEVICES: tuple[Literal["auto", "cpu", "cuda", "hpu"], ...] = ("auto", "cpu", "cuda", "hpu")


def choice(option: str, value: str, allowed: tuple[ChoiceT, ...]) -> ChoiceT:
    """The value, where it is allowed.

    Args:
        option: Name of the option, for the message.
        value: What was given.
        allowed: The words that are known.

    Raises:
        BadInput: It is another word.

    Example:
        >>> choice("--device", "cpu", DEVICES)
        'cpu'
    """
    if value not in allowed:
        raise BadInput(f"{option} '{value}' is not known.", remedy=f"Give one of: {', '.join(allowed)}.")
    return next(known for known in allowed if known == value)
