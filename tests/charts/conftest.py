"""Every shape rendered once, and the schemas that manifests are held against."""

from typing import Any

import pytest

from tests.charts.rendering import SHAPES, Object, render, shape

EVERY = ("defaults", *SHAPES)
_RENDERED: dict[str, list[Object]] = {}


@pytest.fixture(params=EVERY)
def objects(request: Any) -> list[Object]:
    """The objects of each shape in turn."""
    name = str(request.param)
    if name not in _RENDERED:
        _RENDERED[name] = render(shape(name))
    return _RENDERED[name]
