"""The plugin: mounts subscriptions over WebSocket on the HTTP port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from lyredb.plugins.scope import Address, Scope
from lyredb.plugins.settings import Setting
from lyredb.protocols.http.authentication import authentication_of
from lyredb.protocols.http.statistics import StreamStatistics
from lyredb.protocols.websocket.handler import Sockets
from lyredb.protocols.websocket.settings import WEBSOCKET_SETTINGS
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator

WebSocketScope: TypeAlias = Scope[Database, Authenticator]

_PRIORITY = 30


class WebSocketPlugin:
    """Subscriptions over WebSocket (a `lyredb.plugins.scope.ProtocolPlugin`)."""

    name = "websocket"
    settings: Sequence[Setting] = WEBSOCKET_SETTINGS

    def __init__(self) -> None:
        self._sockets: Sockets | None = None

    def prepare(self, scope: WebSocketScope) -> None:
        """Mount, unless ``rest.webSocket`` is off."""
        if not scope.settings.flag("rest.webSocket"):
            return
        login = authentication_of(scope.http)
        self._sockets = sockets = Sockets(
            scope.resources,
            login,
            buffer_bytes=scope.settings.integer("ws.bufferSize"),
            stall_s=scope.settings.seconds("ws.stallTimeout"),
        )
        scope.http.mount("websocket", sockets.wants, sockets.answer, priority=_PRIORITY)

    async def start(self) -> Sequence[Address]:
        """Nothing: the HTTP port listens."""
        return ()

    def statistics(self) -> StreamStatistics:
        """What its subscriptions are and were; all 0 while it is off."""
        return StreamStatistics(0, 0) if self._sockets is None else self._sockets.statistics()

    async def stop(self, deadline_s: float) -> None:
        """Close all connections with 1012."""
        if self._sockets is not None:
            self._sockets.stop()
