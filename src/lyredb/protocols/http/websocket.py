"""uvicorn's WebSocket connection, with what a broadcast needs of it.

Frames that are made once for many readers go straight to the transport; what clients
send is counted and thrown away; who does not finish closing is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lyredb.protocols.http.port import Port
from lyredb.protocols.http.request import CONNECTION

_FOREVER: Final = float("inf")


class WebSocketConnection(WebSocketsSansIOProtocol):
    """See the module; in the scope of the request as ``extensions[CONNECTION]``.

    Attributes:
        ignores_messages: Set by a handler that does not want to receive.
        is_paused: More than the transport's high-water mark waits for the peer.
        drained: Called when a slow peer has read most of what waited for it.
        gone: Called once when the connection is lost.
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
        self._deadline = _FOREVER

    def handle_connect(self, event: Any) -> None:
        """Add this object to the scope; the handler's task has not run yet."""
        super().handle_connect(event)
        if self.handshake_initiated and hasattr(self, "scope"):
            cast("dict[str, Any]", self.scope)["extensions"][CONNECTION] = self

    async def send(self, message: Any) -> None:
        """Take an answer in HTTP for the end of the handshake, which it is.

        uvicorn does so for its own 403 only, and else logs an error for each refusal.
        """
        await super().send(message)
        is_body = message["type"] == "websocket.http.response.body"
        if is_body and not message.get("more_body", False):
            self.handshake_complete = True

    def send_receive_event_to_app(self) -> None:
        """Forget a message that nobody wants; text still has to be text (RFC 6455 §8.1)."""
        if self.ignores_messages:
            is_wrong = self.curr_msg_data_type == "text" and not _is_utf8(self.frames)
            self.frames = []
            if is_wrong:
                self.end(1007, "text must be UTF-8")
            return
        super().send_receive_event_to_app()

    def write_frames(self, data: bytes) -> None:
        """Send ready frames; nothing once closing has begun."""
        if not self.close_sent and not self.disconnected and not self.transport.is_closing():
            self.transport.write(data)

    def end(self, code: int, reason: str = "") -> None:
        """Close with a code; the peer has a moment to read what waits for it."""
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.close()
        self._deadline = self.loop.time() + self.port.limits.close_s

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        super().pause_writing()
        self.is_paused = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        super().resume_writing()
        self.is_paused = False
        if self.drained is not None:
            self.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who writes to this connection from outside."""
        super().connection_lost(exc)
        gone, self.gone, self.drained = self.gone, None, None
        if gone is not None:
            gone()

    def tick(self, now: float) -> None:
        """Cut off a peer that does not finish closing; called by `Port.sweep`."""
        if now >= self._deadline:
            self.transport.abort()


def _is_utf8(parts: Iterable[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True
