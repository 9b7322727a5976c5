"""Every command line of a guide is one that `trimtab` understands, and every file that it names beside it is there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from trimtab.cli.app import commands

ROOT = Path(__file__).parents[3]
GUIDES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "charts").glob("*/README.md")])
# A prompt, the folder of the programs, and the pod that a command runs in.
_BEFORE = re.compile(r"^(\$ )?(kubectl .* exec .* -- )?(\.venv/bin/)?")
_ENDS = ("|", "&&", ";", ">", "...")  # where what the shell makes of a line begins, or what the guide leaves out


def _lines(guide: Path, command: str) -> Iterator[list[str]]:
    """The words after a command, line by line."""
    for block in re.findall(r"```\w*\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            typed = _BEFORE.sub("", line)
            if typed.startswith(f"{command} "):
                words = shlex.split(typed, comments=True)[1:]
                yield words[: next((at for at, word in enumerate(words) if word in _ENDS), None)]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_every_command_is_understood(guide: Path) -> None:
    for line in _lines(guide, "trimtab"):
        if line == ["--help"]:
            continue
        command, words = typer.main.get_command(commands()), line
        while hasattr(command, "commands"):
            assert words, line
            assert words[0] in command.commands, line
            command, words = command.commands[words[0]], words[1:]
        parsed: Any = command.make_context("trimtab", words)  # an unknown option or a missing one raises
        assert parsed.params, line


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: str(guide.relative_to(ROOT)))
def test_charts_and_scripts_of_a_command_are_there(guide: Path) -> None:
    named = {word for command in ("helm", "sh") for line in _lines(guide, command) for word in line}
    for word in named:
        if word.startswith(("charts/", "images/")):
            assert (ROOT / word).exists(), word


def test_commands_are_found_in_the_guides_that_are_full_of_them() -> None:
    for guide, least in (("docs/install.md", 6), ("docs/pipelines.md", 5), ("docs/controller.md", 2), ("README.md", 3)):
        assert len(list(_lines(ROOT / guide, "trimtab"))) >= least


def test_the_readme_lists_every_command() -> None:
    listed = set()
    for row in re.findall(r"^\| `trimtab (.*?)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        group = ""  # named once; the next commands are its own until another is
        for words in row.split("`, `"):
            named = words.removeprefix("trimtab ").split()
            group = named[0] if len(named) > 1 else group
            listed.add(" ".join(named if len(named) > 1 else [*group.split(), *named]))
    assert sorted(listed) == sorted(_leaves(typer.main.get_command(commands())))


def _leaves(command: Any, *names: str) -> Iterator[str]:
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from _leaves(inner, *names, name)
        else:
            yield " ".join([*names, name])
