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

if TYPE_CHECKING:
    from lyredb.protocols.http.guard import Guard

logger: Final = logging.getLogger("lyredb.http")
"""At level debug it is the access log."""

_WITHOUT_LENGTH: Final = (204, 304)


class Exchange(RequestResponseCycle):
    """See the module; made by the guard for each request.

    Attributes:
        guard: The connection.
        chosen: What the router has chosen already, see `Router.answer_now`.
        status: Of the response, 0 before it.
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
    _event: asyncio.Event | None = None

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
    def is_gone(self) -> bool:
        """True when nobody reads any more; uvloop closes a transport before it says so."""
        return self.disconnected or self.transport.is_closing()

    def respond(self, status: int, head: bytes, body: bytes = b"") -> None:
        """Send a whole response; does nothing when the peer is gone.

        Args:
            status: 200 or above.
            head: Header lines, each with its line end; they must be clean.
            body: Left out for HEAD, but counted.
        """
        if self.is_gone:
            return
        parts = self._begin(status, head)
        if status not in _WITHOUT_LENGTH:
            parts.append(b"content-length: %d\r\n" % len(body))
        parts.append(b"\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        self._complete()

    def start_stream(self, status: int, head: bytes) -> None:
        """Send the head of a response whose end is not known yet."""
        if self.is_gone:
            return
        if not self.chunked:
            self.keep_alive = False
        parts = self._begin(status, head)
        if self.chunked:
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n")
        self.transport.write(b"".join(parts))

    def write_part(self, data: bytes) -> None:
        """Send a part of a stream."""
        if self.is_gone or self.response_complete or not data:
            return
        if self.scope["method"] != "HEAD":
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def end_stream(self) -> None:
        """End a stream; the second call does nothing."""
        if self.is_gone or self.response_complete:
            return
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
        self.guard.port.answers[status // 100] += 1
        self.waiting_for_100_continue = False
        parts = [STATUS_LINE[status], self.guard.port.head, head]
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
