"""A connection of the HTTP port: uvicorn's protocol with limits on size and time.

uvicorn bounds neither headers nor the time that a client may take. The guard does, and
answers what breaks a bound itself, in plain HTTP, before any application code runs:
431, 408, 413, 503, 400. It never answers out of order: a refusal waits for the response
that is under way.

Phases of reading: idle (between requests) → headers → body → done, and lingering after
a refusal, see `ending.py`. Deadlines are looked at by `Port.sweep`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lyredb.errors import (
    BodyTooLarge,
    InvalidBody,
    InvalidHeader,
    InvalidTopic,
    Overloaded,
    Timeout,
    TooLarge,
    UnsupportedCoding,
)
from lyredb.plugins.network import Peer
from lyredb.protocols.http.backlog import Outflow
from lyredb.protocols.http.body_bound import BodyBound
from lyredb.protocols.http.codings import wish_of
from lyredb.protocols.http.decompression import Decompressor, coding_of
from lyredb.protocols.http.ending import (
    BODY,
    DONE,
    FOREVER,
    HEADERS,
    IDLE,
    LINGERING,
    OF_HEADERS,
    EndingProtocol,
    Phase,
)
from lyredb.protocols.http.exchange import Exchange
from lyredb.protocols.http.handshake import begin_upgrade, without_offer
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.request import CONNECTION, PEER, SERVER, split_url
from lyredb.protocols.http.stall import Stall

_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_MAX_SOON_WHOLE: Final = 64 * 1024
"""Of a body: as much as uvicorn takes before it stops reading."""
_VERSIONS: Final = ("1.1", "1.0")
_LOOKED_AT: Final = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"accept-encoding",
        b"content-encoding",
    )
)
_OF_CODED_BODY: Final = (b"content-encoding", b"content-length")
"""What is not true any more of a body that was decompressed."""


class Guard(EndingProtocol):
    """See the module.

    Attributes:
        peer: Who it is.
        drained: Called when a slow peer has read most of what waited for it.
        outflow: Of a stream that goes on; it says then how long a peer may take nothing.
        gone: Called once when the connection is lost.
    """

    def __init__(
        self,
        config: Config,
        server_state: Port,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        peer: Peer,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.peer = peer
        self.drained: Any = None
        self.gone: Any = None
        self.outflow: Outflow | None = None
        self._exact_bytes = 0  # of the headers that were parsed
        self._chunk_bytes = 0  # of chunks that hold nothing but headers, or trailers
        self._hosts = 0
        self._length = 0
        self._bound = BodyBound(self.limits.max_body_bytes)
        self._has_body = False
        self._is_soon_whole = False  # small or no body: the request begins when it is here
        self._coding = b""
        self._is_picky = False
        self._decompressor: Decompressor | None = None
        self._scope: dict[str, Any] = {}
        self._was_heard = False
        self._is_half_closed = False
        self._stall = Stall()

    # The transport's side.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to read, or refuse when the port is full."""
        super().connection_made(transport)
        self.client = (self.peer.host, self.peer.port)  # uvicorn's is a proxy's
        self._deadline = self.loop.time() + self.limits.headers_timeout_s
        if self.port.is_full:
            self._refuse(Overloaded("the server has too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who writes to this connection from outside."""
        super().connection_lost(exc)
        self.peer.leave()
        self.pipeline.clear()
        current = self._current
        if current is not None and not current.response_complete:
            # uvicorn tells the last request only; this one may be before it.
            current.disconnected = True
            current.message_event.set()
        gone, self.gone, self.drained = self.gone, None, None
        if gone is not None:
            gone()

    def pause_writing(self) -> None:
        """Let writers wait; from here on `tick` watches the peer."""
        super().pause_writing()
        self._stall.forget()

    def resume_writing(self) -> None:
        """Let waiting writers go on."""
        super().resume_writing()
        if self.drained is not None:
            self.drained()

    def data_received(self, data: bytes) -> None:
        """Parse, within bounds."""
        if self._phase is LINGERING or self._refusal is not None:
            self._discard(data)
            return
        phase, body_bytes = self._phase, self._body_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._refusal is None:  # else its headers were refused a moment ago
                self._upgraded(data, upgrade.args[0])
        except httptools.HttpParserError:
            self._refuse(InvalidHeader("this is no valid HTTP request"))
        if self._refusal is not None:
            return
        if self._phase is HEADERS:
            self._was_heard = True
        if self._phase is phase and body_bytes == self._body_bytes and phase in OF_HEADERS:
            self._chunk_bytes += len(data)
            self._check_headers()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's own signature
        """The peer sends no more; it may still read the answers that have not begun.

        An answer that has begun may be a stream without an end, whose reader is gone.

        Returns:
            True to keep the connection until those are sent, False to close it.
        """
        current = self._current
        self._is_half_closed = (
            self._phase is DONE
            and current is not None
            and not current.response_complete
            and not current.response_started
        )
        return self._is_half_closed

    def tick(self, now: float) -> None:
        """Act on a deadline that has passed; called by `Port.sweep`."""
        if self.flow.write_paused and self._is_stalled(now):
            self.transport.abort()  # the peer reads nothing of what waits for it
        if now < self._deadline:
            return
        match self._phase:
            case Phase.LINGERING:
                self.transport.abort()
            case Phase.HEADERS if self._was_heard:
                self._refuse(Timeout("the headers took too long"))
            case Phase.BODY if self.flow.read_paused:
                # The handler does not read: not the client's fault.
                self._deadline = now + self.limits.body_timeout_s
            case Phase.BODY:
                self._refuse(Timeout("the body took too long"))
            case _:
                self.transport.close()
                self._linger(self.limits.close_s)

    def _is_stalled(self, now: float) -> bool:
        if self.outflow is not None:
            return self.outflow.is_stalled(now)
        waiting = self.transport.get_write_buffer_size()
        return self._stall.seconds(waiting, now) > self.limits.body_timeout_s

    # The parser's side.

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._phase = HEADERS
        self._deadline = self.loop.time() + self.limits.headers_timeout_s
        self._exact_bytes = self._chunk_bytes = self._body_bytes = 0
        self._hosts = self._length = 0
        self._has_body = self._is_soon_whole = False
        self._bound.begin()

    def on_url(self, url: bytes) -> None:
        """A part of the request target."""
        self._exact_bytes += len(url)
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._exact_bytes += len(name) + len(value) + 4
        if self._phase is BODY:
            # A trailer: nobody here has a use for one, and it must not pass for a
            # header (RFC 9110 §6.5.1).
            self._check_headers()
            return
        name = name.lower()
        if name in _LOOKED_AT:
            if name == b"host":
                self._hosts += 1
            elif name != b"accept-encoding" or b"=" in value:  # hardly anybody sends a weight
                self._look_at(name, value)
        self.headers.append((name, value))

    def _look_at(self, name: bytes, value: bytes) -> None:
        match name:
            case b"content-length":  # the parser has checked that it is a number
                self._length = int(value)
                self._has_body = self._has_body or self._length > 0
            case b"transfer-encoding":
                self._has_body = True
                if (
                    value.strip().lower() != b"chunked"
                ):  # such as `gzip, chunked`, unread by the parser
                    self._refuse(InvalidHeader("no transfer coding but chunked is taken"))
            case b"accept-encoding":
                self._is_picky = True  # maybe; the exchange knows
            case b"content-encoding":
                self._coding = b"%b,%b" % (self._coding, value) if self._coding else value
            case b"expect":
                self.expect_100_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Check what the headers say, then make the exchange."""
        self._check_headers()
        if self._refusal is not None:
            return
        parser = self.parser
        version = parser.get_http_version()
        if version not in _VERSIONS:
            self._refuse(InvalidHeader(f"HTTP/{version} is not spoken here"))
            return
        if version == "1.1" and self._hosts != 1:
            self._refuse(InvalidHeader("a request has exactly one Host header"))
            return
        if not self._make_scope(version):
            return
        if self._scope["method"] == "CONNECT":
            self._refuse(InvalidHeader("CONNECT is for proxies, and this is none"))
            return
        if parser.should_upgrade():
            if version != "1.1":  # a proxy that speaks 1.0 would not know of the upgrade
                self._refuse(InvalidHeader("an upgrade is for HTTP/1.1"))
                return
            self._phase, self._deadline = DONE, FOREVER
            return  # the parser stops here, see `_upgraded`
        if self._length > self._bound.max_bytes or (self._has_body and not self._length):
            self._bound.extend(self.port.body_limit(self._scope))
            if self._length > self._bound.max_bytes:
                self._refuse(self._bound.too_large())
                return
        if self._coding and not self._will_decompress():
            return
        self._is_soon_whole = not self._has_body or (
            0 < self._length <= _MAX_SOON_WHOLE and not self.expect_100_continue
        )
        self._phase = BODY
        keep_alive = version == "1.1" and parser.should_keep_alive()
        self.cycle = exchange = Exchange(self, self._scope, keep_alive=keep_alive)
        if self._is_picky:
            self._is_picky = False
            exchange.is_picky = wish_of(exchange.accept_encoding).refuses_identity
        if self._has_body:
            self._deadline = self.loop.time() + self.limits.body_timeout_s
        if not self._is_soon_whole:
            self._begin(exchange)  # it asks for the body

    def _will_decompress(self) -> bool:
        """Have the body decompressed before anybody sees it; False when it is refused."""
        header, self._coding = self._coding, b""
        try:
            coding = coding_of(header)
        except UnsupportedCoding as error:
            self._refuse(error)
            return False
        if coding and self._has_body:
            self._decompressor = Decompressor(
                coding,
                max_bytes=self.limits.max_body_bytes,
                max_ratio=self.limits.max_body_ratio,
            )
        self.headers[:] = [one for one in self.headers if one[0] not in _OF_CODED_BODY]
        return True

    def _decompress(self, data: bytes) -> bytes:
        """Return what a part of the body makes; nothing once it is refused."""
        decompressor = self._decompressor
        assert decompressor is not None, "there is a coding"
        try:
            body = decompressor.feed(data)
        except (BodyTooLarge, InvalidBody) as error:
            self._refuse(error)
            return b""
        self.port.decompressed_bytes += len(body)
        return body

    def _is_decompressed(self, decompressor: Decompressor) -> bool:
        """Tell whether the body was whole; refuse it else."""
        self._decompressor = None
        try:
            decompressor.finish()
        except InvalidBody as error:
            self._refuse(error)
            return False
        return True

    def _make_scope(self, version: str) -> bool:
        try:
            is_server = self.url == SERVER and self.parser.get_method() == b"OPTIONS"
            raw_path, path, query = (SERVER, "", b"") if is_server else split_url(self.url)
        except InvalidTopic as error:
            self._refuse(error)
            return False
        self._scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme,
            "path": "/" + path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self.headers,
            "server": self.server,
            "client": self.client,
            PEER: self.peer,
        }
        self.scope = self._scope  # type: ignore[assignment]  # of the form that uvicorn means
        return True

    def _begin(self, exchange: Exchange) -> None:
        """Answer, or queue behind the answer that is under way."""
        if self.pipeline or not self._current_is_done:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))
            return
        self._current = exchange
        # Not at once while the peer does not read: a task can wait for it.
        is_whole = not exchange.more_body and not self.flow.write_paused
        if not is_whole or not self.port.answer_now(exchange):
            self._start_asgi_task(exchange, self.app)

    @property
    def _current_is_done(self) -> bool:
        return self._current is None or self._current.response_complete

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._refusal is not None:
            return
        self._body_bytes += len(body)
        try:
            self._bound.check(self._body_bytes)
        except BodyTooLarge as error:
            self._refuse(error)
            return
        if self._bound.is_on_time(self._body_bytes):
            self._deadline = self.loop.time() + self.limits.body_timeout_s
        if self._decompressor is not None:
            body = self._decompress(body)
            if not body:
                return
        if self._is_soon_whole:
            self.cycle.body += body  # nobody waits for it: the exchange begins when it is whole
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is read; from here on the handler has all the time it wants."""
        if self._refusal is not None:
            return
        if not self._is_soon_whole and self.parser.should_upgrade():
            return
        if self._decompressor is not None and not self._is_decompressed(self._decompressor):
            return
        self._phase, self._deadline = DONE, FOREVER
        if self._is_soon_whole:
            exchange: Exchange = self.cycle  # type: ignore[assignment]  # made by us
            exchange.more_body = False
            self._begin(exchange)
        else:
            super().on_message_complete()

    # Responses.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        # Only now: scope and exchange then hold each other, which the garbage collector
        # has to find out, and what is answered at once has no task.
        cast(Any, cycle.scope)["extensions"] = {CONNECTION: cycle}
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the next request, a refusal that waited, or wait for either."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._refusal is not None and self._is_next_refused:
            self._send_refusal()
            return
        if self._phase is BODY and not self.pipeline:
            # Answered before the body was read: whatever of it still comes is no request.
            self._finish()
            return
        if self._current is not None and not self._current.keep_alive:
            self.transport.close()
            self._linger(self.limits.close_s)
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._is_half_closed:
            self.transport.close()
            self._linger(self.limits.close_s)
        elif self._phase is DONE:
            self._phase = IDLE
            self._was_heard = False
            self._deadline = self.loop.time() + self.limits.keep_alive_s

    @property
    def _is_next_refused(self) -> bool:
        """True when what was refused is not behind requests that can be answered."""
        if not self.pipeline:
            return True
        queued = self.pipeline[-1][0]
        return queued is self.cycle and queued.more_body

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(InvalidHeader(msg))

    def _check_headers(self) -> None:
        limit = self.limits.max_header_bytes
        if self._exact_bytes > limit or self._chunk_bytes > limit:
            self._refuse(TooLarge(f"the headers have more than {limit} bytes"), 431)

    # Upgrades.

    def _upgraded(self, data: bytes, offset: int) -> None:
        if not self._should_upgrade():
            self._stay(data[offset:])
            return
        if self._has_body:  # its bytes would be taken for frames
            self._refuse(InvalidHeader("an upgrade to WebSocket has no body"))
            return
        begin_upgrade(self, data[offset:])

    def _stay(self, rest: bytes) -> None:
        """Go on in HTTP/1.1 when we do not speak what is offered, such as h2c.

        RFC 9110 §7.8 allows it, and Java's client counts on it. The parser would take
        the body for the other protocol, so the request is read again without the offer.
        """
        head = without_offer(self.parser.get_method(), self.url, self.headers)
        self._coding, self._is_picky = b"", False  # both come again
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)
