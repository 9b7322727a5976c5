"""What every `Warehouse` must do: subclass the suite and give it a `saved` fixture that stores a table and names it.

class TestMyWarehouse(WarehouseContract):
    @pytest.fixture
    def warehouse(self) -> Warehouse: ...

    @pytest.fixture
    def saved(self, tmp_path: Path) -> Callable[[pd.DataFrame], str]: ...
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from trimtab.errors import BadInput
from trimtab.experiments.cells import Key, Layout, Request
from trimtab.experiments.moments import Moments
from trimtab.ports import Warehouse

LAYOUT = Layout("unit", "arm")
PAIR = Request("pair", ("y", "z"))
Saved = Callable[[pd.DataFrame], str]


def units(rows: int = 400, *, level: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Units in two arms with two metrics and a segment."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "unit": np.arange(rows),
            "arm": rng.choice(["A", "B"], rows),
            "y": level + rng.normal(size=rows),
            "z": rng.gamma(2.0, 3.0, rows),
            "place": rng.choice(["north", "south"], rows),
        }
    )


class WarehouseContract:
    """The suite."""

    @pytest.mark.parametrize("level", [0.0, -1e7])
    def test_moments_are_those_of_the_rows(self, warehouse: Warehouse, saved: Saved, level: float) -> None:
        """However far from zero."""
        table = units(level=level)
        cells = warehouse.open(saved(table), LAYOUT).cells([PAIR])
        assert {cell.arm for cell in cells} == {"A", "B"}
        for cell in cells:
            own = table[table["arm"] == cell.arm]
            wanted, found = Moments.of({"y": own["y"].to_numpy(), "z": own["z"].to_numpy()}), cell.moments["pair"]
            assert found.n == wanted.n
            assert found.mean == pytest.approx(wanted.mean, rel=1e-9)
            assert found.comoment == pytest.approx(wanted.comoment, rel=1e-6, abs=1e-6 * wanted.comoment.max())

    def test_cells_add_up(self, warehouse: Warehouse, saved: Saved) -> None:
        """Each unit is in one cell."""
        table = units()
        cells = warehouse.open(saved(table), LAYOUT).cells([PAIR], by=Key("place"))
        assert {(cell.arm, cell.key): cell.units for cell in cells} == table.groupby(["arm", "place"]).size().to_dict()

    def test_repeats_are_counted(self, warehouse: Warehouse, saved: Saved) -> None:
        """Units with several rows, and those in several arms."""
        table = pd.concat([units(), units().iloc[:5], units().iloc[5:7].assign(arm="C")])
        check = warehouse.open(saved(table), LAYOUT).units()
        assert (check.rows, check.repeated, check.mixed) == (407, 7, 2)

    def test_absent_columns_are_told(self, warehouse: Warehouse, saved: Saved) -> None:
        """With the one that was probably meant."""
        opened = warehouse.open(saved(units()), LAYOUT)
        with pytest.raises(BadInput, match=r"no column 'plaec'; did you mean 'place'\?"):
            opened.cells([PAIR], by=Key("plaec"))
