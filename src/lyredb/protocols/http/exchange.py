"""One request and its response on the wire.

uvicorn's cycle with short cuts past ASGI: a response known as a whole is one write
without an await, and a stream's bytes may come from outside of the request's task (from
a subscription's groups). Handlers of other frameworks still use ``receive`` and ``send``.

ASGI's ``send`` checks every header by two regular expressions and is awaited twice; on
the way of a GET that costs more than the look-up.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from lyredb.errors import NotAcceptable
from lyredb.protocols.http.codings import (
    NO_WISH,
    coded_head,
    content_type_in,
    gains,
    unmodified_head,
    wish_of,
)
from lyredb.protocols.http.compression import (
    PIECE_BYTES,
    Compressor,
    compress,
    compress_slowly,
    compressor,
)

if TYPE_CHECKING:
    from lyredb.protocols.http.guard import Guard

logger: Final = logging.getLogger("lyredb.http")
"""At level debug it is the access log."""

_WITHOUT_LENGTH: Final = (204, 304)
_NEVER_COMPRESSED: Final = (204, 205, 206, 304)
_READS: Final = ("GET", "HEAD", "QUERY")
VARY: Final = b"vary: accept-encoding\r\n"


class Exchange(RequestResponseCycle):
    """See the module; made by the guard for each request.

    Attributes:
        guard: The connection.
        chosen: What the router has chosen already, see `Router.answer_now`.
        status: Of the response, 0 before it.
        is_picky: The client refuses what is not compressed.
        chunked: Whether a stream is sent in chunks (HTTP/1.1) or until the end of the
            connection (HTTP/1.0).
    """

    # What each one begins with; on the class, since most requests change few of them.
    access_log = False
    disconnected = False
    more_body = True
    response_started = False
    response_complete = False
    chunked_encoding = None
    expected_content_length = 0
    chosen: Any = None
    status = 0
    is_picky = False
    _event: asyncio.Event | None = None
    _compressor: Compressor | None = None
    _compressing: asyncio.Task[None] | None = None

    def __init__(self, guard: Guard, scope: Any, *, keep_alive: bool) -> None:
        # Without the base's own: what it sets is set here, and nothing made for nothing.
        self.guard = guard
        self.scope = scope
        self.chunked = scope["http_version"] == "1.1"
        self.transport = guard.transport
        self.flow = guard.flow
        self.logger = guard.logger
        self.default_headers = guard.port.default_headers
        self.on_response = guard.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = guard.expect_100_continue
        self.body = bytearray()

    @property
    def message_event(self) -> asyncio.Event:  # type: ignore[override]  # an attribute there
        """Set when there is more to receive; most requests never wait for it."""
        if self._event is None:
            self._event = asyncio.Event()
            if not self.more_body:
                self._event.set()
        return self._event

    @property
    def accept_encoding(self) -> bytes:
        """What the client said of compression, ``b""`` for nothing."""
        headers = self.scope["headers"]
        return b",".join([value for name, value in headers if name == b"accept-encoding"])

    @property
    def is_gone(self) -> bool:
        """True when nobody reads any more; uvloop closes a transport before it says so."""
        return self.disconnected or self.transport.is_closing()

    def respond(self, status: int, head: bytes, body: bytes = b"") -> None:
        """Send a whole response; does nothing when the peer is gone.

        Args:
            status: 200 or above.
            head: Header lines, each with its line end; they must be clean.
            body: Left out for HEAD, but counted. A large one is compressed if the client
                accepts that, in pieces, so that it may be sent after this has returned.

        Raises:
            NotAcceptable: The client accepts neither the body as it is nor compressed.
        """
        if self.is_gone:
            return
        if len(body) >= self.guard.port.compress_from or self.is_picky or status == 304:
            ready = self._compressed(status, head, body)
            if ready is None:
                return
            head, body = ready
        parts = self._begin(status, head)
        if status not in _WITHOUT_LENGTH:
            parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        self._complete()

    def _compressed(self, status: int, head: bytes, body: bytes) -> tuple[bytes, bytes] | None:
        """Return head and body, compressed if the client wants that and it gains by it.

        ``None`` when they are sent, or will be.
        """
        if status == 304:
            return self._unmodified_head(head), body
        head, coding = self._coded(status, head)
        if not coding:
            return head, body
        if self.scope["method"] == "HEAD":
            # Without the length, which nobody knows before it was compressed (RFC 9110 §9.3.2).
            self.transport.write(b"".join((*self._begin(status, head), b"\r\n")))
            self._complete()
            return None
        if len(body) > PIECE_BYTES:
            self._compress_slowly(status, head, coding, body)
            return None
        packed = compress(coding, body)
        self._count(len(body), len(packed))
        return head, packed

    def _compress_slowly(self, status: int, head: bytes, coding: str, body: bytes) -> None:
        """Compress in a task of the server, see `compressed`; the response has begun."""
        parts = self._begin(status, head)
        task = asyncio.get_running_loop().create_task(self._compress(parts, coding, body))
        self.guard.tasks.add(task)
        task.add_done_callback(self.guard.tasks.discard)
        self._compressing = task

    async def _compress(self, parts: list[bytes], coding: str, body: bytes) -> None:
        try:
            packed = await compress_slowly(coding, body)
        except Exception:
            logger.exception("a response could not be compressed")
            self.transport.abort()
            return
        if self.is_gone:
            return
        self._count(len(body), len(packed))
        parts += (b"content-length: %d\r\n\r\n" % len(packed), packed)
        self.transport.write(b"".join(parts))
        self._complete()

    async def compressed(self) -> None:
        """Wait until a response that is large and compressed is sent."""
        if self._compressing is not None:
            await self._compressing

    def _coded(self, status: int, head: bytes) -> tuple[bytes, str]:
        """Return the header lines of a response, and the coding of its body, ``""`` for none.

        Raises:
            NotAcceptable: A client that reads has no use for what could be sent.
        """
        if status < 200 or status in _NEVER_COMPRESSED or b"content-encoding: " in head:
            return head, ""
        accepted = self.accept_encoding
        wish = wish_of(accepted) if accepted else NO_WISH
        is_gain = self.guard.port.compresses and gains(content_type_in(head))
        if is_gain and b"accept-encoding" not in head:
            head += VARY
        if is_gain and wish.coding:
            return coded_head(head, wish.coding), wish.coding
        if wish.refuses_identity and status == 200 and self.scope["method"] in _READS:
            raise NotAcceptable("this is not compressed; accept identity, br, zstd or gzip")
        return head, ""

    def _unmodified_head(self, head: bytes) -> bytes:
        """What a 304 says of the 200 that it stands for (RFC 9110 §15.4.5)."""
        if not self.guard.port.compresses:
            return head
        if b"accept-encoding" not in head:
            head += VARY
        for name, value in self.scope["headers"]:
            if name == b"if-none-match":
                return unmodified_head(head, value)
        return head

    def _count(self, before: int, after: int) -> None:
        port = self.guard.port
        port.uncompressed_bytes += before
        port.compressed_bytes += after

    @property
    def is_compressing(self) -> bool:
        """True for a stream whose parts are compressed; they should have 64 kB at most."""
        return self._compressor is not None

    def start_stream(self, status: int, head: bytes) -> None:
        """Send the head of a response whose end is not known yet.

        Raises:
            NotAcceptable: See `respond`.
        """
        if self.is_gone:
            return
        head, coding = self._coded(status, head)
        if coding:
            self._compressor = compressor(coding)
        if not self.chunked:
            self.keep_alive = False
        parts = self._begin(status, head)
        if self.chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n")
        self.transport.write(b"".join(parts))

    def start_sized(self, status: int, head: bytes, length: int) -> None:
        """Send the head of a response whose parts follow, and are so many bytes together.

        They are sent as they are. Who cannot send them all has to cut the connection.
        """
        if self.is_gone:
            return
        self.chunked = False
        parts = self._begin(status, head)
        parts.append(b"content-length: %d\r\n\r\n" % length)
        self.transport.write(b"".join(parts))

    def write_part(self, data: bytes) -> None:
        """Send a part of a stream; the peer can read it as soon as it has it."""
        if self.is_gone or self.response_complete or not data:
            return
        if self._compressor is not None:
            size = len(data)
            data = self._compressor.part(data)
            self._count(size, len(data))
        self._write_chunk(data)

    async def send_part(self, data: bytes) -> None:
        """Send a part of any size; others have a turn after each piece that is compressed."""
        size = PIECE_BYTES if self.is_compressing else max(1, len(data))
        for at in range(0, len(data), size):
            self.write_part(data[at : at + size])
            await self.drain()
            await asyncio.sleep(0)
            if self.is_gone:
                return

    def _write_chunk(self, data: bytes) -> None:
        if data and self.scope["method"] != "HEAD":
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def end_stream(self) -> None:
        """End a stream; the second call does nothing."""
        if self.is_gone or self.response_complete:
            return
        if self._compressor is not None:
            rest = self._compressor.finish()
            self._count(0, len(rest))
            self._write_chunk(rest)
        if self.chunked and self.scope["method"] != "HEAD":
            self.transport.write(b"0\r\n\r\n")
        self._complete()

    async def drain(self) -> None:
        """Wait until the peer has read most of what was written, or is gone."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()

    def _begin(self, status: int, head: bytes) -> list[bytes]:
        assert not self.response_started, "one response per request"
        self.response_started = True
        self.status = status
        self.waiting_for_100_continue = False
        port = self.guard.port
        port.answers[status // 100] += 1
        parts = [STATUS_LINE[status], port.head, head]
        if port.cors is not None:
            parts.append(port.cors.lines(self.scope["headers"]))
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        return parts

    def _complete(self) -> None:
        self.response_complete = True
        if self._event is not None:
            self._event.set()
        if logger.isEnabledFor(logging.DEBUG):
            scope = self.scope
            logger.debug(
                "%s %s %s %d", scope["client"], scope["method"], scope["path"], self.status
            )
        self.on_response()
