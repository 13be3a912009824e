"""One end of the stream between a worker and the writer: whole frames in and out.

It reads and writes the socket itself and is no transport of the loop, for one promise: what
the peer had sent before it died is read to the end, also when writing to it has failed
already. A transport drops its input when its output breaks, and with it replies that were
on their way.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from typing import Final, Protocol

from lyredb.storage.remote.wire import LENGTH, MAX_FRAME_BYTES

READ_BYTES: Final = 256 * 1024
MOST_READS: Final = 4_096
"""Of a stream that is left, 1 GiB: whoever says more has not ended."""
CLOSE_S: Final = 1.0
"""How long `close` waits for a peer that is slow to read the last of it."""

_logger: Final = logging.getLogger(__name__)


class Owner(Protocol):
    """Who has a channel; called by it in the loop."""

    def frames_came(self, frames: list[memoryview]) -> None:
        """Whole frames were read, without their lengths."""

    def output_drained(self) -> None:
        """What could not be sent at once is with the kernel now."""

    def channel_lost(self) -> None:
        """The peer is gone and all that it sent was read. Called once, not after `close`."""


class Channel:
    """A connected Unix stream socket, owned from here on.

    Args:
        sock: The socket.
        owner: Gets what comes.
        loop: The loop to read and write in.
    """

    def __init__(
        self, sock: socket.socket, owner: Owner, *, loop: asyncio.AbstractEventLoop
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._owner = owner
        self._loop = loop
        self._unsent: deque[memoryview] = deque()
        self._splitter = Splitter()
        self._is_open = True
        self._is_deaf = False
        self._is_paused = False
        loop.add_reader(sock.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        """Neither lost nor closed."""
        return self._is_open

    @property
    def has_unsent(self) -> bool:
        """The peer reads slower than it is written to."""
        return bool(self._unsent)

    @property
    def has_told_all(self) -> bool:
        """The kernel has everything, and the peer is there to read it."""
        return self._is_open and not self._is_deaf and not self._unsent

    def send(self, frame: bytes) -> None:
        """Send a frame, now as far as the kernel takes it.

        To a peer that is gone it goes nowhere; `Owner.channel_lost` follows.
        """
        if not self._is_open or self._is_deaf:
            return
        if self._unsent:
            self._unsent.append(memoryview(frame))
            return
        self._unsent.append(memoryview(frame))
        self._send_some()
        if self._unsent:
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _send_some(self) -> None:
        while self._unsent:
            data = self._unsent[0]
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                _logger.debug("the peer takes no more: %s", error)
                self._is_deaf = True
                self._unsent.clear()
                return
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = data[sent:]

    def _writable(self) -> None:
        self._send_some()
        if not self._unsent:
            self._loop.remove_writer(self._sock.fileno())
            self._owner.output_drained()

    def pause(self) -> None:
        """Read no more, until `resume`; the peer notices by its own unsent bytes."""
        if self._is_open and not self._is_paused:
            self._is_paused = True
            self._loop.remove_reader(self._sock.fileno())

    def resume(self) -> None:
        """Read again."""
        if self._is_open and self._is_paused:
            self._is_paused = False
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        self._read_some()

    def _read_some(self) -> bool:
        """Take some of what has come; False when there is nothing, or never will be."""
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            _logger.debug("the peer broke the stream: %s", error)
            data = b""
        if not data:
            self._lose()
            return False
        try:
            frames = self._splitter.feed(data)
        except ValueError:
            _logger.exception("the stream between worker and writer is damaged; it is closed")
            self._lose()
            return False
        if frames:
            self._owner.frames_came(frames)
        return self._is_open

    def _lose(self) -> None:
        self._release()
        self._owner.channel_lost()

    def finish_output(self) -> None:
        """Send no more, so that the peer ends its side after what it has to say."""
        self._unsent.clear()
        self._is_deaf = True
        if self._is_open:
            self._loop.remove_writer(self._sock.fileno())
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:
                _logger.debug("the peer was gone already: %s", error)

    def close(self) -> None:
        """Send what is unsent, waiting a second at most, and end. A second call does nothing."""
        if not self._is_open:
            return
        unsent = b"".join(self._unsent)
        self._unsent.clear()
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        if unsent:
            try:
                self._sock.settimeout(CLOSE_S)
                self._sock.sendall(unsent)
            except OSError as error:
                _logger.warning("the peer did not take the last of the stream: %s", error)
        self._is_open = False
        self._sock.close()

    def abandon(self) -> None:
        """Do not wait for the end of what the peer says: it counts as lost now.

        What has come is read before: a loop that is late may not have looked yet, and a
        reply in it is of what was done.
        """
        for _ in range(MOST_READS):
            if not self._is_open or not self._read_some():
                break
        if self._is_open:
            self._lose()

    def _release(self) -> None:
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._is_open = False
        self._unsent.clear()
        self._sock.close()


class Splitter:
    """Cuts a stream into frames. Partial ones wait in pieces and are joined once."""

    __slots__ = ("_have", "_need", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._have = 0
        self._need = LENGTH.size

    def feed(self, data: bytes) -> list[memoryview]:
        """Take what was read and return the frames that are whole now.

        Raises:
            ValueError: A length that no frame has.
        """
        self._pieces.append(data)
        self._have += len(data)
        if self._have < self._need:
            return []
        view = memoryview(b"".join(self._pieces) if len(self._pieces) > 1 else data)
        frames: list[memoryview] = []
        at, end = 0, len(view)
        self._need = LENGTH.size
        while end - at >= LENGTH.size:
            (size,) = LENGTH.unpack_from(view, at)
            if size > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {size} bytes was announced")
            if end - at < LENGTH.size + size:
                self._need = LENGTH.size + size
                break
            frames.append(view[at + LENGTH.size : at + LENGTH.size + size])
            at += LENGTH.size + size
        self._pieces = [bytes(view[at:])] if at < end else []
        self._have = end - at
        return frames
