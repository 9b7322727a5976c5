"""Imports Feast quickly.

Feast decorates its classes with `typeguard.typechecked`, which parses and recompiles their source on every import: 2.6
of the 3.1 seconds of CPU that importing Feast takes, in each process that reads a feature. The decorator only helps
Feast's own developers and does nothing under `python -O` either.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typeguard


@contextmanager
def without_instrumentation() -> Iterator[None]:
    """Make `typeguard.typechecked` do nothing while the block imports Feast."""
    instrument = typeguard.typechecked
    typeguard.typechecked = _as_it_is
    try:
        yield
    finally:
        typeguard.typechecked = instrument


def _as_it_is(target: Any = None, **options: Any) -> Any:
    """Stand in for the decorator, with and without options."""
    del options
    same: Callable[[Any], Any] = lambda decorated: decorated  # noqa: E731
    return same if target is None else target
