"""The socket to one peer: what is sent goes at once as far as the kernel takes it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

_READ_BYTES: Final = 256 * 1024
"""Of one read: about what the sender's batches have, and 10 ms of work at most."""
MOST_READS: Final = 16
"""Of a link at a time, when the log is about to be told: more would hold the loop up."""
_SOCKET_BYTES: Final = 1024 * 1024
"""Asked of the kernel for each direction, so that a tick's batch mostly fits."""

_log = logging.getLogger(__name__)


class Link(Protocol):
    """What a peer needs of its connection."""

    @property
    def waiting_bytes(self) -> int:
        """What the kernel has not taken yet."""

    def begin(
        self,
        on_data: Callable[[bytes], None],
        on_drained: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Start to read.

        Args:
            on_data: Called with each piece that is read.
            on_drained: Called when nothing waits any more.
            on_lost: Called once, when the other side is gone.
        """

    def send(self, data: bytes) -> None:
        """Send; what cannot go now waits without a limit."""

    def read_waiting(self) -> None:
        """Take now what has come already, in at most `MOST_READS` pieces."""

    def close(self) -> None:
        """End it; nothing is called any more."""


class SocketLink:
    """A connected stream socket on an event loop. Owns the socket."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)
        self._sock = sock
        self._loop = loop
        self._unsent: deque[memoryview] = deque()
        self.waiting_bytes = 0
        self._is_closed = False

    def begin(
        self,
        on_data: Callable[[bytes], None],
        on_drained: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """See `Link`."""
        self._on_data = on_data
        self._on_drained = on_drained
        self._on_lost = on_lost
        self._loop.add_reader(self._sock, self._read)

    def read_waiting(self) -> None:
        """See `Link`."""
        for _ in range(MOST_READS):
            if self._is_closed or not self._read():
                return

    def _read(self) -> bool:
        """Read one piece; False when there was none."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._lose(error)
            return False
        if data:
            self._on_data(data)
        else:
            self._lose(None)
        return bool(data)

    def send(self, data: bytes) -> None:
        """See `Link`."""
        if self._is_closed:
            return
        self._unsent.append(memoryview(data))
        self.waiting_bytes += len(data)
        if len(self._unsent) == 1:
            self._write()
            if self._unsent and not self._is_closed:
                self._loop.add_writer(self._sock, self._go_on)

    def _write(self) -> None:
        while self._unsent:
            first = self._unsent[0]
            try:
                sent = self._sock.send(first)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # The reader learns of it too; callers of `send` are in the middle of a flush.
                self._loop.call_soon(self._lose, error)
                self._unsent.clear()
                self.waiting_bytes = 0
                return
            self.waiting_bytes -= sent
            if sent < len(first):
                self._unsent[0] = first[sent:]
                return
            self._unsent.popleft()

    def _go_on(self) -> None:
        self._write()
        if not self._unsent:
            self._loop.remove_writer(self._sock)
            self._on_drained()

    def _lose(self, error: OSError | None) -> None:
        if self._is_closed:
            return
        if error is not None:
            _log.warning("the connection to another worker broke: %s", error)
        self.close()
        self._on_lost()

    def close(self) -> None:
        """See `Link`."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._unsent.clear()
        self.waiting_bytes = 0
        self._sock.close()
