"""What every command shares, seen from its help and its options."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from trimtab.cli.app import commands


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, inner in command.commands.items():
        yield from _leaves(inner, (*path, name))


LEAVES = dict(_leaves(typer.main.get_command(commands())))


def test_all_commands_are_there() -> None:
    assert {"run", "simulate", "validate", "train", "pipeline compile", "pipeline run", "pipeline submit",
            "pipeline schedule", "serve", "models list"} <= LEAVES.keys()  # fmt: skip


@pytest.mark.parametrize("name", LEAVES)
def test_help_has_an_example_and_the_exit_codes(name: str) -> None:
    epilog = LEAVES[name].epilog
    assert re.search(rf"Examples?:.*trimtab {name}", epilog, re.DOTALL)
    assert "2 bad input" in epilog


@pytest.mark.parametrize("name", LEAVES)
def test_each_command_can_answer_in_json(name: str) -> None:
    assert "--json" in {option for parameter in LEAVES[name].params for option in parameter.opts}
