"""What the analysis says of a location that holds a password."""

from pathlib import Path

import pytest

from trimtab.adapters.ibis import IbisMetricTable, IbisWarehouse
from trimtab.errors import BadInput
from trimtab.experiments.cells import Layout
from trimtab.experiments.declaration import Flags
from trimtab.steps import analyze
from trimtab.testing.ports import StepPorts

LOCATION = "postgres://reader:s3cret@db#exposures"
FLAGS = Flags(unit="user", arm="arm", control="A", metrics=("conversion=binary:converted",))


class EmptyWarehouse:
    """An engine that can be reached everywhere, and whose tables are all empty.

    Args:
        folder: Where its one table lies.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "empty.csv"
        self._file.write_text("user,arm,converted\n", encoding="utf-8")

    def open(self, location: str, layout: Layout) -> IbisMetricTable:
        """The table."""
        del location
        return IbisWarehouse().open(str(self._file), layout)


def test_the_password_of_an_empty_table_is_not_told(tmp_path: Path) -> None:
    ports = StepPorts(tmp_path)
    ports.warehouse = EmptyWarehouse(tmp_path)
    with pytest.raises(BadInput, match=r"'postgres://reader:\*\*\*@db#exposures' has no rows") as raised:
        analyze.run(analyze.Config(LOCATION, flags=FLAGS), ports.as_ports())
    assert "s3cret" not in str(raised.value)
