"""The command's end of the control socket."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from lyredb import errors
from lyredb.operations.requests import Request, encode_request
from lyredb.server.control import ANSWER_S, SOCKET_FILE, short_path

T = TypeVar("T")

_PATIENCE_S: Final = ANSWER_S + 5
"""Longer than the server's own, so that it is the server that says what happened."""
_CHUNK_BYTES: Final = 65_536
_MAX_ANSWER_BYTES: Final = 64_000_000
"""A list of all users; a server is trusted, a mix-up is not."""


class ServerGone(errors.StorageFailed):
    """No server answers, or it went away before it did; the request may or may not be done."""


class _Line(msgspec.Struct):
    result: Any = None
    error: str = ""
    message: str = ""


def is_served(data_dir: Path) -> bool:
    """Tell whether a server answers at the control socket of a data directory."""
    try:
        _connect(data_dir).close()
    except OSError:
        return False
    return True


def ask_server(data_dir: Path, request: Request, answer: type[T]) -> T:
    """Have a running server do something, and return its answer.

    Args:
        data_dir: Of the server.
        request: What to do.
        answer: The type of what it answers.

    Raises:
        LyreError: What the server says: the same class that it had there.
        ServerGone: No server answers, or it went away.
        StorageFailed: It does not answer in time, or not as one does.
    """
    try:
        with _connect(data_dir) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.sendall(encode_request(request) + b"\n")
            line = _read_line(connection)
    except TimeoutError as error:
        raise errors.StorageFailed("the server does not answer") from error
    except OSError as error:
        raise ServerGone(f"no server answers: {error.strerror}") from error
    return _result_of(line, answer)


def _connect(data_dir: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_PATIENCE_S)
        with short_path(data_dir / SOCKET_FILE) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _read_line(connection: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        part = connection.recv(_CHUNK_BYTES)
        if not part or len(line) > _MAX_ANSWER_BYTES:
            raise ServerGone("the server went away; it may or may not be done")
        line += part
    return bytes(line)


def _result_of(line: bytes, answer: type[T]) -> T:
    try:
        told = msgspec.json.decode(line, type=_Line)
        if not told.error:
            return msgspec.convert(told.result, answer)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise errors.StorageFailed("the server answers as none of this version") from error
    raise _error_of(told)


def _error_of(told: _Line) -> errors.LyreError:
    """Return the error of the server, as its base class where the class takes no sentence."""
    found = getattr(errors, told.error, errors.LyreError)
    for base in getattr(found, "__mro__", ()):
        if issubclass(base, errors.LyreError) and "__init__" not in vars(base):
            error: errors.LyreError = base(told.message)
            return error
    return errors.LyreError(told.message)
