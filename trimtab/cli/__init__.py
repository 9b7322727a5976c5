"""The command line: parse, load the profile, call a step, render."""

from trimtab.cli.app import main

__all__ = ["main"]
