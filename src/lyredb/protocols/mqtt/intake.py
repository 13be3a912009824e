"""What a peer sends, from its reads to whoever processes whole packets.

Keeps incomplete packets and all that comes while there is a reason not to go on, ends
turns that last too long, and stops the transport meanwhile. Bytes are processed in their
order, whatever was paused in between.
"""

from __future__ import annotations

from typing import Protocol

from lyredb.protocols.mqtt.pieces import Pieces
from lyredb.protocols.mqtt.publishing import SMALL_BYTES, Publishing
from lyredb.protocols.mqtt.transport import Transport
from lyredb.protocols.net.flow import Reading, Turn


class Processor(Protocol):
    """Whoever gets what was read."""

    def process(self, data: bytes) -> tuple[int, int]:
        """Process whole packets, until the intake is paused or the turn is over.

        May not raise.

        Returns:
            The position of the first byte that is left, and how many bytes there must be
            from there before it is worth looking again.
        """

    def fail_by_fault(self) -> None:
        """End, as an exception that is under way shows a fault of ours."""


class Intake:
    """The reading side of one connection.

    Args:
        transport: Paused while there is a reason not to go on.
        processor: Gets what can be processed.
        turn: Says when others are to work; it may be theirs too.

    Attributes:
        publishing: Takes reads of one plain message first; None while all go to the processor.
    """

    __slots__ = (
        "_is_clear",
        "_is_closed",
        "_pieces",
        "_processor",
        "_reading",
        "_turn",
        "publishing",
    )

    def __init__(self, transport: Transport, processor: Processor, turn: Turn) -> None:
        self._processor = processor
        self._pieces = Pieces()
        self._reading = Reading(transport)
        self._turn = turn
        self._is_closed = False
        self._is_clear = True  # nothing waits, and nothing has to
        self.publishing: Publishing | None = None

    @property
    def is_paused(self) -> bool:
        """True while there is a reason not to go on."""
        return self._reading.is_paused

    @property
    def is_turn_over(self) -> bool:
        """True when the rest has to wait for others."""
        return self._turn.is_over

    def feed(self, data: bytes) -> None:
        """Take what was read; after `close` it is dropped."""
        publishing, size = self.publishing, len(data)
        if publishing is not None and self._is_clear and size <= SMALL_BYTES:
            # As little as possible: with thousands of devices each object on the way is one
            # that the processor has not in its cache.
            try:
                if publishing.take_one(data, 0, size, True):
                    return
            except Exception:
                self._processor.fail_by_fault()
        if self._is_closed:
            return
        if self._pieces.size or self._reading.is_paused:
            self._pieces.add(data)
            if self._reading.is_paused or not self._pieces.is_enough:
                return
            data = self._pieces.join()
        self._work(data)

    def pause(self, why: object) -> None:
        """Do not go on until ``why`` is resumed; a second call with it does nothing."""
        if not self._is_closed:
            self._is_clear = False
            self._reading.pause(why)

    def resume(self, why: object) -> None:
        """Take a reason back; without one left it goes on in the next tick."""
        if not self._reading.resume(why):
            return
        if self._pieces.size:
            self._turn.call_soon(self._continue)
        else:
            self._is_clear = not self._is_closed

    def finish(self) -> None:
        """The peer is gone: process what it sent, without further turns."""
        while self._reading.resume(self):
            self._continue()

    def close(self) -> None:
        """Forget everything; nothing is processed any more."""
        self._is_closed = True
        self._is_clear = False
        self._pieces.clear()
        self._reading.forget()

    def _work(self, data: bytes) -> None:
        self._turn.begin()
        position, needed = self._processor.process(data)
        if self._is_closed:
            return
        if position < len(data):
            self._pieces.put_back(data[position:], needed)
        if self._turn.ends_after(len(data)):
            # Nothing is read until then, so that the peer's end is not met before its bytes.
            self._reading.pause(self)
            self._turn.call_soon(self._next_turn)
        self._is_clear = position >= len(data) and not self._reading.is_paused

    def _next_turn(self) -> None:
        if self._reading.resume(self):
            self._is_clear = not (self._is_closed or self._pieces.size)
            self._continue()

    def _continue(self) -> None:
        if not self._is_closed and not self._reading.is_paused and self._pieces.is_enough:
            self._work(self._pieces.join())
