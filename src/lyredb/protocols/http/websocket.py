"""uvicorn's WebSocket connection, with what a broadcast needs of it.

Frames that are made once for many readers go straight to the transport; what clients
send is counted and thrown away, in turns; who does not finish closing is cut off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.protocol import State

from lyredb.protocols.http.backlog import Outflow
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.request import CONNECTION, PEER

logger: Final = logging.getLogger("lyredb.http")

_FOREVER: Final = float("inf")
_UPGRADE: Final = b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
_OF_REQUEST: Final = ("path", "raw_path", "query_string", "headers", PEER)
_PONG: Final = b"\x8a"
"""The first byte of a pong (RFC 6455 §5.5.3)."""
_MAX_OFFER_BYTES: Final = 4_000
"""Of extensions; a longer offer is not looked at, which declines it (RFC 6455 §9.1)."""
_SLICE_BYTES: Final = 4_096
"""Parsed between two looks at the clock: up to 680 frames, which take 2 to 3 ms."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    """See the module; in the scope of the request as ``extensions[CONNECTION]``.

    Attributes:
        ignores_messages: Set by a handler that does not want to receive.
        is_paused: More than the transport's high-water mark waits for the peer.
        drained: Called when a slow peer has read most of what waited for it.
        gone: Called once when the connection is lost.
        outflow: Of a subscription; it says how long the peer may take nothing.
    """

    def __init__(
        self,
        config: Config,
        server_state: Port,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.port = server_state
        self.ignores_messages = False
        self.is_paused = False
        self.drained: Callable[[], None] | None = None
        self.gone: Callable[[], None] | None = None
        self.outflow: Outflow | None = None
        self._slow_s = -_FOREVER  # when more than the transport likes waited last
        self._deadline = _FOREVER
        self._early: list[bytes] = []
        self._rest: list[bytes] = []  # read, and waits for this connection's next turn
        self._is_waiting = False  # for the next turn, with or without a rest
        self._pong = b""  # the answer to the last ping, while the peer reads too slowly
        self._request: Any = None

    def begin(self, transport: asyncio.Transport, request: Any, early: bytes) -> None:
        """Take a connection over whose request the guard has read and checked.

        The library gets only what it answers by. It has limits of its own for the line
        and the headers, and beyond them neither answers nor closes.

        Args:
            transport: Gets this object as its protocol.
            request: The guard's scope.
            early: What came behind the headers.
        """
        self._request = request
        self.connection_made(transport)
        self.client = request["client"]  # uvicorn's is a proxy's
        lines = [b"%b: %b\r\n" % one for one in request["headers"] if _is_decisive(*one)]
        super().data_received(_UPGRADE + b"".join(lines) + b"\r\n")
        transport.set_protocol(self)
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Take frames; those that come before the answer wait for it, unread by the parser.

        It would take a close for the end of a connection that never was, and leave it
        without an answer.
        """
        if self.handshake_initiated and not self.handshake_complete:
            self._early.append(data)
            self.transport.pause_reading()
        elif self._is_waiting:
            self._rest.append(data)  # a transport may have had it already
        elif len(data) <= _SLICE_BYTES:
            super().data_received(data)
        else:
            self._work(data)

    def _work(self, data: bytes) -> None:
        """Parse until the turn is over; what is left waits for the next one.

        The library parses all that it gets before it lets anything else happen.
        """
        turn, at = self.port.turn, 0
        turn.begin()
        while at < len(data) and not (self.transport.is_closing() or (at and turn.is_over)):
            super().data_received(data[at : at + _SLICE_BYTES])
            at += _SLICE_BYTES
        if self.transport.is_closing():
            return  # nothing that comes behind a close is of use
        if at < len(data):
            self._rest.append(data[at:])
        if self._rest or turn.ends_after(len(data)):
            self._is_waiting = True
            self._set_reading()
            turn.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        rest, self._rest, self._is_waiting = b"".join(self._rest), [], False
        if self.transport.is_closing():
            return
        if rest:
            self._work(rest)
        if not self._is_waiting:
            self._set_reading()

    def _set_reading(self) -> None:
        """Read unless a turn or the handler (`read_paused`) is waited for."""
        try:
            if self._is_waiting or self.read_paused:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
        except RuntimeError:
            # uvloop refuses between a failed write and `connection_lost`.
            logger.debug("a transport closed before its reading could be set")

    def _take_early(self) -> None:
        early, self._early = b"".join(self._early), []
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self.data_received(early)

    def handle_connect(self, event: Any) -> None:
        """Add this object to the scope; the handler's task has not run yet."""
        super().handle_connect(event)
        if self.handshake_initiated and hasattr(self, "scope"):
            scope = cast("dict[str, Any]", self.scope)
            scope |= {name: self._request[name] for name in _OF_REQUEST}
            scope["subprotocols"] = [
                token.strip().decode("latin-1")
                for name, value in scope["headers"]
                if name == b"sec-websocket-protocol"
                for token in value.split(b",")
            ]
            scope["extensions"][CONNECTION] = self

    async def receive(self) -> Any:
        """Return the next message; the peer is read on when all are taken and it has its turn."""
        message = await self.queue.get()
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self._set_reading()
        return message

    async def send(self, message: Any) -> None:
        """Take an answer in HTTP for the end of the handshake, which it is.

        uvicorn does so for its own 403 only, and else logs an error for each refusal.
        """
        await super().send(message)
        if self._early and message["type"] == "websocket.accept":
            # Once the handler has said what it does with messages.
            self.loop.call_soon(self._take_early)
        is_body = message["type"] == "websocket.http.response.body"
        if is_body and not message.get("more_body", False):
            self.handshake_complete = True

    def handle_cont(self, event: Frame) -> None:
        """Keep one piece of a message, however many fragments it has.

        Each would cost 50 bytes, and to join millions of them takes longer than a turn.
        """
        if not isinstance(self.frames[0], bytearray):
            self.frames = [cast("bytes", bytearray(self.frames[0]))]
        cast("bytearray", self.frames[0]).extend(event.data)
        if event.fin:
            self.frames = [bytes(self.frames[0])]
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Forget a message that nobody wants; text still has to be text (RFC 6455 §8.1)."""
        if self.ignores_messages:
            is_wrong = self.curr_msg_data_type == "text" and not _is_utf8(self.frames)
            self.frames = []
            if is_wrong:
                self.end(1007, "text must be UTF-8")
            return
        super().send_receive_event_to_app()

    @property
    def takes_frames(self) -> bool:
        """False once closing has begun: nothing may be written any more."""
        return not (self.close_sent or self.disconnected or self.transport.is_closing())

    def end(self, code: int, reason: str = "") -> None:
        """Close with a code; the peer has a moment to read what waits for it."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self.stop_keepalive()
        if self.conn.state is State.OPEN:  # else the parser has met the peer's close, or a fault
            self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.close()
        self._deadline = self.loop.time() + self.port.limits.close_s

    @property
    def is_ending(self) -> bool:
        """True once only the peer can hold up the end."""
        return self.close_sent or self.transport.is_closing()

    def handle_ping(self) -> None:
        """Answer; of a peer that does not read only the last ping (RFC 6455 §5.5.3).

        Else one that never does would have us keep an answer to each.
        """
        out: list[bytes] = []
        for one in self.conn.data_to_send():
            if self.is_paused and one.startswith(_PONG):
                self._pong = one
            else:
                out.append(one)
        if out:
            self.transport.write(b"".join(out))

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        super().pause_writing()
        self.is_paused = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        super().resume_writing()
        self.is_paused = False
        self._slow_s = self.loop.time()
        pong, self._pong = self._pong, b""
        if pong and self.takes_frames:
            self.transport.write(pong)
        if self.drained is not None:
            self.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who writes to this connection from outside."""
        super().connection_lost(exc)
        self._rest.clear()
        self._request[PEER].leave()
        gone, self.gone, self.drained = self.gone, None, None
        if gone is not None:
            gone()

    def send_keepalive_ping(self) -> None:
        """Ping, unless so much waits before it that no answer could come in time."""
        if self._is_slow:
            self.schedule_ping()
        else:
            super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Give up on a peer, unless it may still be reading what was sent before the ping.

        Whether a slow one is there is seen by what it takes (`Outflow.is_stalled`).
        """
        if self._is_slow and self.ping_timeout is not None:
            self.pong_timer = self.loop.call_later(self.ping_timeout, self.keepalive_timeout)
        else:
            super().keepalive_timeout()

    @property
    def _is_slow(self) -> bool:
        """True while something waits here, and as long again as it may lie in the sockets."""
        if self.outflow is None:
            return False
        return self.is_paused or self.loop.time() - self._slow_s < self.outflow.stall_s

    def tick(self, now: float) -> None:
        """Cut off a peer that takes nothing or does not finish closing; see `Port.sweep`."""
        is_stalled = self.is_paused and self.outflow is not None and self.outflow.is_stalled(now)
        if is_stalled or now >= self._deadline:
            self.transport.abort()


def _is_decisive(name: bytes, value: bytes) -> bool:
    """Tell whether the library has to know a header."""
    if name == b"sec-websocket-extensions":
        return len(value) <= _MAX_OFFER_BYTES
    return name in (b"sec-websocket-key", b"sec-websocket-version")


def _is_utf8(parts: Iterable[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True
