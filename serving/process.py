"""What every server of ours is as a process: it takes a socket, never outlives its parent, and may be several workers.

Knows nothing of what is served, and imports nothing heavy, so that both servers start from it.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

_WATCH_SECONDS = 1.0
_RESTART_SECONDS = 1.0  # a worker that dies at once is not started again in a tight loop
_POLL_SECONDS = 0.1


def listen(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """Open the server's socket.

    Args:
        host: Address to bind.
        port: Port, or 0 for a free one.
        backlog: Connections that may wait to be accepted.

    Raises:
        OSError: The port is taken or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def exit_with_parent(*, grace_seconds: float = 0.0) -> None:
    """End this process when its parent has gone, however that came to its end.

    The parent holds the other end of standard input, so the end of it means that the parent has gone; the parent's id
    is watched too, because a fork of the parent may still hold that end. `PR_SET_PDEATHSIG` would not do: it fires
    when the *thread* that started this process ends.

    Args:
        grace_seconds: How long the process may take to end by itself, as on SIGTERM, before it is made to.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            readable, _, _ = select.select([sys.stdin], [], [], _WATCH_SECONDS)
            if readable and not os.read(sys.stdin.fileno(), 1024):
                break
        if grace_seconds:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(grace_seconds)
        os._exit(0)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def supervise(
    command: Sequence[str],
    *,
    workers: int,
    listener: socket.socket,
    stop_seconds: float = 30.0,
    ended: Callable[[int], None] = lambda _: None,
) -> int:
    """Run several workers on one socket until told to stop; one that dies is replaced.

    Args:
        command: What a worker is; `--listen_fd FD --exit_with_parent` is added to it.
        workers: How many.
        listener: The bound socket, which all of them accept from.
        stop_seconds: How long workers may take to end once they are told to.
        ended: Called with the id of a worker's process that ended by itself, before it is replaced.

    Returns:
        The exit code: 0 when told to stop, or a worker's own where it ended by itself with 2, a mistake of the user.
    """
    asked = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    running = [_worker(command, listener) for _ in range(workers)]
    started = [time.monotonic()] * workers
    code = 0
    while not asked.wait(_POLL_SECONDS):
        for place, process in enumerate(running):
            if process.poll() is None:
                continue
            if process.returncode == 2:
                code = 2
                asked.set()
                break
            if time.monotonic() - started[place] >= _RESTART_SECONDS:
                _close(process)
                ended(process.pid)
                running[place], started[place] = _worker(command, listener), time.monotonic()
    _stop(running, stop_seconds)
    return code


def _worker(command: Sequence[str], listener: socket.socket) -> subprocess.Popen[bytes]:
    descriptor = listener.fileno()
    return subprocess.Popen(
        [*command, "--listen_fd", str(descriptor), "--exit_with_parent"],
        stdin=subprocess.PIPE,
        pass_fds=(descriptor,),
        start_new_session=True,  # Ctrl-C reaches this process, which then stops its workers in order.
    )


def _stop(running: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    for process in running:
        process.terminate()
    deadline = time.monotonic() + seconds
    for process in running:
        try:
            process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
