"""The framer: a WebSocket as the transport of a protocol that is a stream of bytes.

Lives in the place of the guard once the upgrade is answered. Text frames are refused
(1003), pings answered, fragments passed on as they come. One write is one frame.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from lyredb.plugins.network import Peer
from lyredb.protocols.http.frames import FrameError, FrameReader, Opcode, close_frame, frame
from lyredb.protocols.http.port import Port

if TYPE_CHECKING:
    from lyredb.protocols.http.upgrade import UpgradedConnection

_FOREVER: Final = float("inf")


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
        self._is_closing = False
        self._is_paused = False
        self._deadline = _FOREVER

    def attach(self, inner: UpgradedConnection) -> None:
        """Begin to work for a connection."""
        self._inner = inner
        self._port.connections.add(self)  # type: ignore[arg-type]  # one of our kind
        self._transport.set_protocol(self)

    # The socket's side.

    def data_received(self, data: bytes) -> None:
        """Take frames apart; all bytes of a read are passed on at once."""
        parts: list[bytes] = []
        try:
            for opcode, payload in self._reader.feed(data):
                self._take(opcode, payload, parts)
                if self._is_closing:
                    break
        except FrameError as error:
            self._pass_on(parts)
            self._end(error.code, str(error))
            return
        self._pass_on(parts)

    def _take(self, opcode: Opcode, payload: bytes, parts: list[bytes]) -> None:
        match opcode:
            case Opcode.BINARY:
                parts.append(payload)
            case Opcode.PING:
                self._transport.write(frame(Opcode.PONG, payload))
            case Opcode.CLOSE:
                self._peer_closes(payload, parts)
            case Opcode.TEXT:
                raise FrameError(1003, "only binary frames are taken")
            case _:
                pass  # a pong needs no answer

    def _pass_on(self, parts: list[bytes]) -> None:
        if parts and self._inner is not None and not self._is_closing:
            self._inner.feed(parts[0] if len(parts) == 1 else b"".join(parts))
        parts.clear()

    def _peer_closes(self, payload: bytes, parts: list[bytes]) -> None:
        self._pass_on(parts)
        if not self._is_closing:
            self._is_closing = True
            # Echoed with its code, or without one as it came (RFC 6455 §5.5.1).
            self._transport.write(frame(Opcode.CLOSE, payload[:2]))
        self._transport.close()
        self._set_deadline()

    def eof_received(self) -> None:
        """The peer is gone without a close frame: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the connection inside."""
        self._port.connections.discard(self)
        self._peer.leave()
        self._is_closing = True
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
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
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
            self._is_closing = True
            self._transport.write(close_frame(1000))
            self.resume_reading()
            self._set_deadline()

    def _end(self, code: int, reason: str) -> None:
        self._is_closing = True
        self._transport.write(close_frame(code, reason))
        self._transport.close()
        self._set_deadline()

    def _set_deadline(self) -> None:
        self._deadline = asyncio.get_running_loop().time() + self._port.limits.close_s

    def abort(self) -> None:
        """Close at once."""
        self._is_closing = True
        self._transport.abort()

    def is_closing(self) -> bool:
        """True once closing has begun."""
        return self._is_closing

    def pause_reading(self) -> None:
        """Read no more."""
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the peer."""
        return self._transport.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`."""
        self._transport.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self._transport.get_extra_info(name, default)
