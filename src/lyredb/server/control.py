"""The control socket: how commands on the same machine reach a running server.

A Unix socket ``control.sock`` in the data directory, served by the process that can
write. One line of JSON is one request (`lyredb.operations.requests`), one line answers
it: ``{"result": …}``, or ``{"error": name, "message": sentence}``. Who may connect is
decided by the file system (the directory is 0700, the socket 0600) and once more by the
user id of the peer, which the kernel tells: root, or the owner of the data directory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from lyredb.errors import InvalidBody, LyreError, NotAuthorised, Overloaded, StorageFailed
from lyredb.operations.requests import Request, decode_request

SOCKET_FILE: Final = "control.sock"
MAX_LINE_BYTES: Final = 24_000_000
"""A part of an import with the largest record that any setting allows, as base64."""
READ_S: Final = 10.0
"""For the next line to arrive; commands send theirs at once."""
ANSWER_S: Final = 60.0
"""For what was asked: a hash, a commit, and every worker's note of it."""
WRITE_S: Final = 10.0
"""For the peer to take its answer."""
MAX_CONNECTIONS: Final = 16
"""Each is one command in a terminal or script."""
_BACKLOG: Final = 16
_PEER: Final = struct.Struct("3i")
"""Process, user and group id (``struct ucred``, unix(7))."""

Perform = Callable[[Request], Awaitable[object]]

_logger: Final = logging.getLogger(__name__)


class ControlSocket:
    """The server's end. `start` once, then `close` once.

    Args:
        data_dir: Exists, and is locked by this server.
        perform: Does what is asked; see `lyredb.operations.administration`.
        read_s: See `READ_S`.
        answer_s: See `ANSWER_S`.
    """

    def __init__(
        self,
        data_dir: Path,
        perform: Perform,
        *,
        read_s: float = READ_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._path = data_dir / SOCKET_FILE
        self._perform = perform
        self._read_s = read_s
        self._answer_s = answer_s
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            StorageFailed: The socket cannot be made in the data directory.
        """
        listener = _bind(self._path)
        self._server = await asyncio.start_unix_server(
            self._serve, sock=listener, limit=MAX_LINE_BYTES
        )

    async def close(self) -> None:
        """Answer nothing more, and take the socket away."""
        if self._server is None:
            return
        self._server.close()
        self._path.unlink(missing_ok=True)
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio makes one for each connection"
        self._connections.add(task)
        try:
            self._admit(writer.get_extra_info("socket"))
            while line := await self._next_line(reader):
                await self._write(writer, await self._answer(line))
        except (LyreError, TimeoutError) as error:  # LyreError: before it was understood
            await self._write(writer, _told(error))
        except (ConnectionError, asyncio.CancelledError):
            _logger.debug("a control connection was ended")
        except Exception:
            _logger.exception("a control connection failed")
        finally:
            self._connections.discard(task)
            writer.close()

    def _admit(self, peer: socket.socket) -> None:
        user = user_of(peer)
        if user is not None and user not in (0, os.geteuid()):
            raise NotAuthorised("only root and the owner of the data directory may ask")
        if len(self._connections) > MAX_CONNECTIONS:
            raise Overloaded("too many commands are being answered; try again")

    async def _next_line(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next whole line, nothing at the end."""
        try:
            async with asyncio.timeout(self._read_s):
                line = await reader.readline()
        except ValueError:  # asyncio's word for a line beyond the limit
            raise InvalidBody(f"a request has at most {MAX_LINE_BYTES} bytes") from None
        return line if line.endswith(b"\n") else b""

    async def _answer(self, line: bytes) -> bytes:
        try:
            request = decode_request(line)
            async with asyncio.timeout(self._answer_s):
                result = await self._perform(request)
        except (LyreError, TimeoutError) as error:
            return _told(error)
        except Exception:
            _logger.exception("a command failed")
            return _told(StorageFailed("the command failed; the server's log says why"))
        return msgspec.json.encode({"result": result}) + b"\n"

    async def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        try:
            writer.write(line)
            async with asyncio.timeout(WRITE_S):
                await writer.drain()
        except (ConnectionError, TimeoutError):
            _logger.debug("a command did not take its answer")


def user_of(peer: socket.socket) -> int | None:
    """Return the user id of a Unix socket's peer, ``None`` where the system does not tell.

    Then the permissions of directory and socket decide alone.
    """
    option: int | None = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    return int(_PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, option, _PEER.size))[1])


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Give a path of the same socket that fits into an address, which has 108 bytes.

    Data directories may lie deeper; through a descriptor of the directory any path is short.
    """
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        through = f"/proc/self/fd/{descriptor}"
        yield f"{through}/{path.name}" if os.path.isdir(through) else str(path)
    finally:
        os.close(descriptor)


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Whoever holds the directory's lock is the only server: what is there is a dead one's.
        path.unlink(missing_ok=True)
        with short_path(path) as address:
            listener.bind(address)
        path.chmod(0o600)  # nobody can connect before `listen`
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StorageFailed(f"the control socket cannot be made: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def _told(error: LyreError | TimeoutError) -> bytes:
    if isinstance(error, LyreError):
        told = {"error": type(error).__name__, "message": str(error)}
    else:
        told = {"error": "Timeout", "message": "it took too long, and may or may not be done"}
    return msgspec.json.encode(told) + b"\n"
