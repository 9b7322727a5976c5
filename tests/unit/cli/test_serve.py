import re

import pytest
import typer
from typer.testing import CliRunner

from trimtab.cli import serve
from trimtab.errors import BadInput


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    serve.register(app)
    return app


def test_help_has_an_example_and_the_exit_codes(app: typer.Typer) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", CliRunner().invoke(app, ["serve", "--help"]).output)
    assert "trimtab serve ux_sessions@champion" in shown
    assert "2 bad input" in shown


@pytest.mark.parametrize("model", ["ux_sessions", "@champion", "ux_sessions@"])
def test_asks_for_a_version(app: typer.Typer, model: str) -> None:
    result = CliRunner().invoke(app, ["serve", model])
    assert isinstance(result.exception, BadInput)
    assert "names no version" in str(result.exception)
