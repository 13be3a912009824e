"""Ports of servers that cannot choose one themselves, and waiting until they listen."""

from __future__ import annotations

import socket
import time

from bench.peers.process import Started, StartFailed

START_WITHIN_S = 10.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def await_port(process: Started, port: int, name: str) -> None:
    """Return when something listens.

    Raises:
        StartFailed: The process ended, or does not listen in time.
    """
    deadline = time.monotonic() + START_WITHIN_S
    while process.is_running() and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise StartFailed(f"{name} {process.last_words()}")
