"""Names of Python 3.11 that the trainer's modules use, for the vendor's images that have 3.10. Loaded at start-up."""

import datetime
import typing

import typing_extensions

NAMES = {
    datetime: {"UTC": datetime.timezone.utc},  # noqa: UP017 - it is what UTC is another name of
    typing: {"Self": typing_extensions.Self},
}

for module, names in NAMES.items():
    for name, value in names.items():
        if not hasattr(module, name):
            setattr(module, name, value)
