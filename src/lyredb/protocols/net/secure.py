"""TLS over another transport: protocol of the socket's transport, transport of the protocol.

Instead of asyncio's and uvloop's own, for three reasons: a refused or silent peer costs no
task and no TLS state; bytes that came together with a PROXY header can be given to it; and
`get_write_buffer_size` tells all that waits for the peer. Theirs counts what is not yet
encrypted, while a large write is encrypted at once and waits in the socket's transport:
slow readers would look as if they had read everything. They also hold 256 kB of buffer per
connection.

What is read is decrypted at once and passed on in one piece; what is written is encrypted
at once and waits in the socket's transport only, whose limits and counts are the truth.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

_RECORD_BYTES: Final = 16_384
"""Plain bytes of one TLS record at most (RFC 8446 §5.1)."""
_MAX_UNREAD_BYTES: Final = 8_000_000
"""Taken and thrown away after our end was sent, so that the peer reads it and no reset."""
_LOW_WATER_SHARE: Final = 4


class _State(IntEnum):
    SHAKING_HANDS = 0
    OPEN = 1
    ENDED = 2
    """We have said that we send no more."""
    LOST = 3


class SecureTransport(asyncio.Transport):
    """See the module. One object, since neither end can be without the other.

    Args:
        transport: The socket's; its protocol has to become this object.
        context: For a server.
        secured: Called when hands are shaken; returns the protocol on top.
        failed: Called with a reason when that never happens.
    """

    __slots__ = (
        "_failed",
        "_has_peer_ended",
        "_incoming",
        "_outgoing",
        "_protocol",
        "_secured",
        "_ssl",
        "_state",
        "_transport",
        "_unread",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        context: ssl.SSLContext,
        *,
        secured: Callable[[SecureTransport], asyncio.Protocol],
        failed: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._secured: Callable[[SecureTransport], asyncio.Protocol] | None = secured
        self._failed: Callable[[str], None] | None = failed
        self._protocol: asyncio.Protocol | None = None
        self._state = _State.SHAKING_HANDS
        self._has_peer_ended = False
        self._unread = 0

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """What was agreed with the peer; there until the connection is lost."""
        return self._ssl

    # --- the socket's side

    def data_received(self, data: bytes) -> None:
        """Decrypt, and pass on."""
        if self._state >= _State.ENDED:
            self._discard(data)
            return
        self._incoming.write(data)
        if self._state is _State.SHAKING_HANDS and not self._shake_hands():
            return
        plain = self._decrypt()
        if plain and self._protocol is not None:
            self._protocol.data_received(plain)
        if self._has_peer_ended and self._state is _State.OPEN:
            self._pass_end_on()

    def eof_received(self) -> bool:
        """The peer sends no more, with or without having said so inside of TLS.

        Cutting off is found by the protocols, whose messages say how long they are.
        """
        if self._state is not _State.OPEN:
            return False
        if not self._has_peer_ended:
            self._has_peer_ended = True
            self._pass_end_on()
        return not self._transport.is_closing()

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed.

        What is only for TLS goes at once. The objects of a connection know each other and are
        found by the garbage collector, which counts objects and not bytes: it would let the
        buffers of thousands of connections that are gone wait for it.
        """
        protocol, self._protocol = self._protocol, None
        was_open = self._state is not _State.SHAKING_HANDS
        self._state = _State.LOST
        if protocol is not None:
            protocol.connection_lost(exc)
        elif not was_open:
            self._fail("the peer left during the handshake of TLS")
        del self._ssl, self._incoming, self._outgoing

    # --- TLS

    def _shake_hands(self) -> bool:
        """Go on with the handshake; True once it is done."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return False
        except ssl.SSLError as error:
            self._send()  # the alert
            self._state = _State.LOST
            self._fail(f"the handshake of TLS failed: {error.reason or error}")
            self._transport.close()
            return False
        self._send()
        secured, self._secured, self._failed = self._secured, None, None
        assert secured is not None, "hands are shaken once"
        self._state = _State.OPEN
        self._protocol = secured(self)
        self._protocol.connection_made(self)
        return self._state is _State.OPEN

    def _fail(self, reason: str) -> None:
        failed, self._failed, self._secured = self._failed, None, None
        if failed is not None:
            failed(reason)

    def _decrypt(self) -> bytes:
        """Return all that can be read now."""
        parts: list[bytes] = []
        try:
            while self._incoming.pending or self._ssl.pending():
                part = self._ssl.read(_RECORD_BYTES)
                if not part:
                    self._has_peer_ended = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass  # the rest of a record is still to come
        except ssl.SSLZeroReturnError:
            self._has_peer_ended = True
        except ssl.SSLError:
            self._send()  # the alert
            self._transport.abort()
            return b""
        self._send()  # answers of TLS itself, such as to a change of keys
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _send(self) -> None:
        if self._outgoing.pending:
            self._transport.write(self._outgoing.read())

    def _pass_end_on(self) -> None:
        if self._protocol is None or not self._protocol.eof_received():
            self.close()

    def _discard(self, data: bytes) -> None:
        self._unread += len(data)
        if self._unread > _MAX_UNREAD_BYTES:
            self._transport.abort()

    # --- the protocol's side

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt, and send; nothing once closing has begun."""
        if self._state is not _State.OPEN or not data:
            return
        try:
            sent = self._ssl.write(data)
            if sent < len(data):
                rest = memoryview(data)
                while sent < len(data):
                    sent += self._ssl.write(rest[sent : sent + _RECORD_BYTES])
        except ssl.SSLError:
            self._transport.abort()  # it cannot go on: a record is missing
            return
        self._send()

    def writelines(self, list_of_data: Any) -> None:
        """Send as one."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """True: each direction of TLS ends by itself (RFC 8446 §6.1)."""
        return True

    def write_eof(self) -> None:
        """Say that we send no more; what still comes is thrown away."""
        if self._state is _State.OPEN:
            self._end()
            self._transport.write_eof()

    def close(self) -> None:
        """Send what waits and our end, then close."""
        if self._state is _State.OPEN:
            self._end()
        self._transport.close()

    def _end(self) -> None:
        self._state = _State.ENDED
        try:
            self._ssl.unwrap()
        except ssl.SSLError:
            pass  # the peer's own end is not waited for; ours is what was to be made
        self._send()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """True once closing has begun."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Read no more."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo ``pause_reading``."""
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        """True while the peer is read."""
        return self._transport.is_reading()

    def get_write_buffer_size(self) -> int:
        """Encrypted bytes that wait for the peer: all that there are."""
        return self._transport.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Low and high water."""
        return self._transport.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio; both are passed, since uvloop takes no ``None`` beside a number."""
        if high is not None and low is None:
            low = high // _LOW_WATER_SHARE
        self._transport.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Take another protocol on top."""
        assert isinstance(protocol, asyncio.Protocol), "one that takes bytes"
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol on top."""
        assert self._protocol is not None, "hands are shaken"
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket's transport knows, and about TLS."""
        match name:
            case "ssl_object" if self._state is not _State.LOST:
                return self._ssl
            case "sslcontext" if self._state is not _State.LOST:
                return self._ssl.context
            case _:
                return self._transport.get_extra_info(name, default)
