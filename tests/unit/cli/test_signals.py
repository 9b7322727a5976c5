"""What a command does when it is told to end."""

import signal
import subprocess
import sys

import pytest

WAITING = """
import time
import typer
from trimtab.cli import app

tree = typer.Typer(pretty_exceptions_enable=False)

@tree.command()
def wait():
    print("waiting", flush=True)
    time.sleep(60)

app.commands = lambda: tree
app.main([])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_told_to_end_ends_in_good_order(number: signal.Signals) -> None:
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130  # as a shell has it, and not minus the number: it was not killed
    assert "Traceback" not in said
