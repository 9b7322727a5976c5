"""Routes in files satisfy the contract, and a document that a person broke says what is wrong."""

from pathlib import Path

import pytest

from trimtab.adapters.routes import FileRoutes
from trimtab.errors import BadInput
from trimtab.ports import Routes
from trimtab.testing.routes import ROUTE, RoutesContract


class TestFileRoutes(RoutesContract):
    @pytest.fixture
    def routes(self, tmp_path: Path) -> Routes:
        return FileRoutes(tmp_path / "routes")


def test_a_broken_document_names_the_file_and_the_field(tmp_path: Path) -> None:
    routes = FileRoutes(tmp_path)
    routes.publish(ROUTE)
    (path,) = tmp_path.iterdir()
    path.write_text(path.read_text().replace('"version": 1', '"version": "one"'))
    with pytest.raises(BadInput, match=r"shop\.json'.*version"):
        routes.get("shop")
    assert set(routes.versions()) == {"shop"}


def test_a_writer_leaves_no_part_behind(tmp_path: Path) -> None:
    FileRoutes(tmp_path).publish(ROUTE)
    assert [path.name for path in tmp_path.iterdir()] == ["shop.json"]
