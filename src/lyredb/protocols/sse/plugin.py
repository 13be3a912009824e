"""The plugin: mounts streams on the HTTP port, before REST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from lyredb.plugins.scope import Address, Scope
from lyredb.plugins.settings import Setting
from lyredb.protocols.http.authentication import authentication_of
from lyredb.protocols.http.statistics import StreamStatistics
from lyredb.protocols.sse.handler import Streams
from lyredb.protocols.sse.settings import SSE_SETTINGS
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator

SseScope: TypeAlias = Scope[Database, Authenticator]

_PRIORITY = 20


class SsePlugin:
    """Server-Sent Events (a `lyredb.plugins.scope.ProtocolPlugin`)."""

    name = "sse"
    settings: Sequence[Setting] = SSE_SETTINGS

    def __init__(self) -> None:
        self._streams: Streams | None = None

    def prepare(self, scope: SseScope) -> None:
        """Mount."""
        settings = scope.settings
        self._streams = Streams(
            scope.resources,
            authentication_of(scope.http),
            heartbeat_s=settings.seconds("sse.heartbeat"),
            buffer_bytes=settings.integer("sse.bufferSize"),
            stall_s=settings.seconds("sse.stallTimeout"),
            retry_s=settings.seconds("sse.retry"),
        )
        scope.http.mount("sse", self._streams.wants, self._streams.answer, priority=_PRIORITY)

    async def start(self) -> Sequence[Address]:
        """Begin to beat; the HTTP port listens."""
        if self._streams is None:
            raise RuntimeError("prepare comes before start")
        self._streams.start()
        return ()

    def statistics(self) -> StreamStatistics:
        """What its streams are and were; all 0 before ``prepare``."""
        return StreamStatistics(0, 0) if self._streams is None else self._streams.statistics()

    async def stop(self, deadline_s: float) -> None:
        """End all streams."""
        if self._streams is not None:
            self._streams.stop()
