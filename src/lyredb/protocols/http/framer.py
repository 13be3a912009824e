"""The framer: a WebSocket as the transport of a protocol that is a stream of bytes.

Lives in the place of the guard once the upgrade is answered. Text frames are refused
(1003), pings answered, fragments passed on as they come. One write is one frame.

Frames are taken in turns (`lyredb.protocols.net.flow`), in which what the connection inside
does with them counts too. What is left when one is over, or when the connection inside
pauses, waits here in its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from lyredb.plugins.network import Peer
from lyredb.protocols.http.frames import FrameError, FrameReader, Opcode, close_frame, frame
from lyredb.protocols.http.port import Port
from lyredb.protocols.net.flow import Reading

if TYPE_CHECKING:
    from lyredb.protocols.http.upgrade import UpgradedConnection

_FOREVER: Final = float("inf")
_BATCH: Final = 512
"""Frames between two looks at the clock, which take about 1 ms and are passed on together."""
_SMALL_BYTES: Final = 2_048
"""A read that is far from a turn: it holds 342 frames at most, which is less than a batch."""
_OF_TURN, _OF_INSIDE = "turn", "inside"
"""Why nothing is read: others have their turn, or the connection inside wants it so."""


class Framer(asyncio.Protocol):
    """See the module; implements `upgrade.UpgradedTransport`.

    Args:
        transport: The socket's transport; its protocol becomes this object.
        port: Where connections are listed and limits stand.
        peer: Who it is.
    """

    def __init__(self, transport: asyncio.Transport, port: Port, peer: Peer) -> None:
        self._transport = transport
        self._port = port
        self._peer = peer
        self._reader = FrameReader(port.limits.max_message_bytes)
        self._inner: UpgradedConnection | None = None
        self._reading = Reading(transport)
        self._frames: Iterator[tuple[Opcode, bytes]] | None = None  # that wait for a turn
        self._early: list[bytes] = []  # came behind them
        self._is_scheduled = False
        self._is_paused = False  # by the connection inside
        self._is_closing = False  # nothing is written any more
        self._is_deaf = False  # nothing is passed on any more
        self._is_over = False  # nothing is looked at any more
        self._pong = b""  # the answer to the last ping, while the peer reads too slowly
        self._is_congested = False
        self._lost: tuple[Exception | None] | None = None
        self._deadline = _FOREVER

    def attach(self, inner: UpgradedConnection) -> None:
        """Begin to work for a connection."""
        self._inner = inner
        self._port.connections.add(self)  # type: ignore[arg-type]  # one of our kind
        self._transport.set_protocol(self)

    # The socket's side.

    def data_received(self, data: bytes) -> None:
        """Take frames apart."""
        if self._frames is not None:
            self._early.append(data)  # a transport may have had it already
        elif len(data) <= _SMALL_BYTES:
            self._take_batch(self._reader.feed(data))
        else:
            self._frames = self._reader.feed(data)
            self._port.turn.begin()
            self._work(len(data))

    def _work(self, size: int = 0) -> None:
        """Take frames until none is left, the turn is over or the connection inside pauses.

        Args:
            size: Of the read that it works on, if it has just come.
        """
        turn = self._port.turn
        while self._frames is not None and not self._is_over:
            if not self._take_batch(self._frames):
                self._frames = self._next_frames()
            elif turn.is_over:
                break
            if self._is_held:
                break
        if self._is_over:
            self._frames = None
            self._early.clear()
        if self._frames is not None or turn.ends_after(size):
            self._wait()
        elif self._lost is not None:
            self._tell_lost(*self._lost)
        else:
            self._reading.resume(_OF_TURN)

    @property
    def _is_held(self) -> bool:
        """True while the connection inside takes nothing; one that is lost gets all."""
        return self._is_paused and not self._is_deaf and self._lost is None

    def _next_frames(self) -> Iterator[tuple[Opcode, bytes]] | None:
        early, self._early = b"".join(self._early), []
        return self._reader.feed(early) if early else None

    def _wait(self) -> None:
        """Let others have their turn; nothing is read until then."""
        self._reading.pause(_OF_TURN)
        # Without a rest there is nothing to hold: whoever is inside only reads again then.
        if not self._is_scheduled and not (self._is_held and self._frames is not None):
            self._is_scheduled = True
            self._port.turn.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._is_scheduled = False
        if not self._is_held or self._frames is None:
            self._port.turn.begin()
            self._work()

    def _take_batch(self, frames: Iterator[tuple[Opcode, bytes]]) -> bool:
        """Take some frames and pass on what they hold; False when there is no further one."""
        parts: list[bytes] = []
        number = 0
        try:
            for opcode, payload in frames:
                self._take(opcode, payload, parts)
                number += 1
                if number == _BATCH or self._is_over:
                    break
        except FrameError as error:
            self._pass_on(parts)
            self._fail(error)
        self._pass_on(parts)
        return number == _BATCH

    def _take(self, opcode: Opcode, payload: bytes, parts: list[bytes]) -> None:
        match opcode:
            case Opcode.BINARY:
                parts.append(payload)
            case Opcode.PING:
                self._answer_ping(payload)
            case Opcode.CLOSE:
                self._peer_closes(payload, parts)
            case Opcode.TEXT:
                raise FrameError(1003, "only binary frames are taken")
            case _:
                pass  # a pong needs no answer

    def _answer_ping(self, payload: bytes) -> None:
        """Answer; of a peer that does not read only the last ping (RFC 6455 §5.5.3)."""
        if self._is_closing:
            return
        pong = frame(Opcode.PONG, payload)
        if self._is_congested:
            self._pong = pong
        else:
            self._transport.write(pong)

    def _pass_on(self, parts: list[bytes]) -> None:
        if parts and self._inner is not None and not self._is_deaf:
            self._inner.feed(parts[0] if len(parts) == 1 else b"".join(parts))
        parts.clear()

    def _peer_closes(self, payload: bytes, parts: list[bytes]) -> None:
        self._pass_on(parts)
        if not self._is_closing:
            # Echoed with its code, or without one as it came (RFC 6455 §5.5.1).
            self._transport.write(frame(Opcode.CLOSE, payload[:2]))
        self._finish()

    def _fail(self, error: FrameError) -> None:
        if not self._is_closing:
            self._transport.write(close_frame(error.code, str(error)))
        self._finish()

    def _finish(self) -> None:
        """Close the transport; whatever the peer still sends is of no use."""
        self._is_closing = self._is_deaf = self._is_over = True
        self._transport.close()
        self._set_deadline()

    def eof_received(self) -> None:
        """The peer is gone without a close frame: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection inside, once it has what was read before."""
        self._port.connections.discard(self)
        self._peer.leave()
        self._reading.forget()
        self._is_closing = True
        if self._frames is None or self._is_deaf:
            self._tell_lost(exc)
        else:
            self._lost = (exc,)
            self._wait()

    def _tell_lost(self, exc: Exception | None) -> None:
        self._is_deaf = self._is_over = True
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connection_lost(exc)

    @property
    def transport(self) -> asyncio.Transport:
        """The socket's."""
        return self._transport

    @property
    def is_ending(self) -> bool:
        """True once only the peer can hold up the end."""
        return self._is_closing

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self._is_congested = True
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._is_congested = False
        pong, self._pong = self._pong, b""
        if pong and not self._is_closing:
            self._transport.write(pong)
        if self._inner is not None:
            self._inner.resume_writing()

    def tick(self, now: float) -> None:
        """Cut off a peer that does not finish closing; called by `Port.sweep`."""
        if now >= self._deadline:
            self._transport.abort()

    def shutdown(self) -> None:
        """The server stops."""
        if self._is_closing or self._inner is None:
            self._transport.close()
        else:
            self._inner.shutdown()

    # The connection's side.

    def write(self, data: bytes) -> None:
        """Send as one binary frame."""
        if not self._is_closing:
            self._transport.write(frame(Opcode.BINARY, data))

    def close(self) -> None:
        """Send a close frame, wait for the peer's, then close."""
        if not self._is_closing:
            self._is_closing = self._is_deaf = True
            self._transport.write(close_frame(1000))
            self.resume_reading()
            self._set_deadline()

    def _set_deadline(self) -> None:
        self._deadline = asyncio.get_running_loop().time() + self._port.limits.close_s

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = self._is_deaf = self._is_over = True
        self._transport.abort()

    def is_closing(self) -> bool:
        """True once closing has begun."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Read no more; what was read already waits too."""
        self._is_paused = True
        self._reading.pause(_OF_INSIDE)

    def resume_reading(self) -> None:
        """Read on, in the next tick if there is a rest of what was read."""
        self._is_paused = False
        if self._frames is not None:
            self._wait()
        self._reading.resume(_OF_INSIDE)

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the peer."""
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`."""
        self._transport.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self._transport.get_extra_info(name, default)
