"""What waits for readers of streams and WebSockets: for each one, and for all of a worker.

One that holds more than it may is set aside by its subscription and keeps what it has; that
bounds each. Together they may still hold too much. Then those that hold the most are cut
off, until a quarter is free: nothing else frees their memory, as what was written cannot be
taken back. They resume after the last event that they have read.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from lyredb.protocols.http.stall import Stall

COUNTED_FROM: Final = 65_536
"""Bytes that wait for one: above the high water of asyncio's and uvloop's transports, which
say then when it has drained."""

logger: Final = logging.getLogger("lyredb.http")


class Outflow:
    """The bytes on their way to one reader.

    Attributes:
        stall_s: As given.

    Args:
        transport: Of the connection.
        backlog: Of the worker.
        limit_bytes: How much may wait before the reader is set aside.
        stall_s: How long it may take nothing of what waits.
    """

    __slots__ = ("_backlog", "_limit_bytes", "_stall", "_transport", "_written", "stall_s")

    def __init__(
        self, transport: asyncio.Transport, backlog: Backlog, *, limit_bytes: int, stall_s: float
    ) -> None:
        self._transport = transport
        self._backlog = backlog
        self._limit_bytes = limit_bytes
        self.stall_s = stall_s
        self._stall = Stall()
        self._written = 0

    @property
    def waiting_bytes(self) -> int:
        """What the peer's socket has not taken yet."""
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> bool:
        """Write; False when this was the last that may be written until it has drained.

        More than the limit waited already then, so that what comes in one tick always
        gets through to a reader that reads, whatever its size.
        """
        before = self.waiting_bytes
        self._transport.write(data)
        waiting = self.waiting_bytes
        self._written += waiting - before  # as it is on the wire, with what TLS adds
        if waiting > COUNTED_FROM:
            self._backlog.note(self, waiting)
        return before <= self._limit_bytes

    def is_stalled(self, now: float) -> bool:
        """Tell whether the peer takes nothing at all; asked while the transport is paused.

        Args:
            now: The loop's time.
        """
        # Less what was written, the bytes that wait become fewer only as they are taken.
        return self._stall.seconds(self.waiting_bytes - self._written, now) > self.stall_s

    def drained(self) -> None:
        """Nothing that counts waits any more, or nobody is there to take it."""
        self._backlog.forget(self)

    def cut_off(self) -> None:
        """End the connection at once and free what waits."""
        self._transport.abort()


class Backlog:
    """What waits for all that read slowly in a worker.

    Attributes:
        total: In bytes, as they were noted.
        cut_off: How many were cut off so far.

    Args:
        limit_bytes: Of the sum.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.total = 0
        self.cut_off = 0
        self._limit_bytes = limit_bytes
        self._sizes: dict[Outflow, int] = {}
        self._is_scheduled = False

    def note(self, one: Outflow, waiting: int) -> None:
        """Set what waits for one."""
        self.total += waiting - self._sizes.get(one, 0)
        self._sizes[one] = waiting
        if self.total > self._limit_bytes and not self._is_scheduled:
            # In the next tick: nobody is ended in the middle of a flush, and what the
            # loop sends at the end of this one does not count.
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._make_room)

    def forget(self, one: Outflow) -> None:
        """Count one no more."""
        self.total -= self._sizes.pop(one, 0)

    def _make_room(self) -> None:
        self._is_scheduled = False
        for one in self._sizes:
            self._sizes[one] = one.waiting_bytes
        self.total = sum(self._sizes.values())
        if self.total <= self._limit_bytes:
            return
        goal = self._limit_bytes * 3 // 4
        for one, waiting in sorted(self._sizes.items(), key=lambda item: -item[1]):
            if self.total <= goal:
                break
            logger.warning("%d bytes wait in all: a reader of %d is cut off", self.total, waiting)
            self.cut_off += 1
            self.forget(one)
            one.cut_off()
