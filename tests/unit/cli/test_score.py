import pytest
import typer
from typer.testing import CliRunner

from trimtab.cli import score
from trimtab.errors import BadInput


@pytest.mark.parametrize("model", ["ux_sessions", "@champion", "ux_sessions@"])
def test_asks_for_a_version(model: str) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)
    score.register(app)
    result = CliRunner().invoke(app, ["score", "sessions.parquet", "--model", model, "--out", "scored"])
    assert isinstance(result.exception, BadInput)
    assert "names no version" in str(result.exception)
