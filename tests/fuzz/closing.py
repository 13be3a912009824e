"""How a connection ends that has said whatever it liked."""

from __future__ import annotations

import socket

import pytest


def end(connection: socket.socket) -> None:
    """Say that no more comes; the server has to end its side too, whatever came before."""
    try:
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65_536):
            pass
    except TimeoutError:
        pytest.fail("the server keeps a connection that has ended")
    except OSError:
        pass  # reset: the server ended it with bytes unread
    connection.close()
