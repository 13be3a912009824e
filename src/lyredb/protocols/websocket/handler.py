"""Upgrades to subscriptions: everything that can be refused is refused before the upgrade."""

from __future__ import annotations

from typing import Final

from lyredb.errors import (
    InvalidHeader,
    RecordNotFound,
    ServerStopping,
)
from lyredb.formats import FORMATS, StructuredFormat, negotiate
from lyredb.plugins.context import Context
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.backlog import Outflow
from lyredb.protocols.http.beginning import beginning_in
from lyredb.protocols.http.extension import split_extension
from lyredb.protocols.http.request import Request
from lyredb.protocols.http.statistics import StreamStatistics
from lyredb.protocols.websocket.encoding import ENCODINGS
from lyredb.protocols.websocket.reader import Reader
from lyredb.resources.database import Database
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.target import Target
from lyredb.tables.gateway import Beginning

PROTOCOL: Final = "ws"


class Sockets:
    """The handler that is mounted, and all subscriptions of a worker.

    Args:
        database: Where everything is.
        authentication: Who asks.
        buffer_bytes: How much may wait for a client.
        stall_s: How long a client may take nothing of it.
    """

    def __init__(
        self,
        database: Database,
        authentication: Authentication,
        *,
        buffer_bytes: int,
        stall_s: float,
    ) -> None:
        self._database = database
        self._authentication = authentication
        self._buffer_bytes = buffer_bytes
        self._stall_s = stall_s
        self._readers: set[Reader] = set()
        self._begun = 0
        self._is_stopping = False

    def wants(self, request: Request) -> bool:
        """Tell whether the request is an upgrade."""
        return request.is_websocket

    async def answer(self, request: Request) -> None:
        """Upgrade, then serve until the end."""
        chosen = negotiate(request.header(b"accept"), FORMATS)
        self._database.registry.resolve(request.path, PROTOCOL)  # 404 comes before 401
        self._authentication.admit_socket(request)  # strangers' pages learn nothing of logins
        await self._authentication.authenticate(request)
        self._authentication.admit_socket(request)  # a cookie demands more
        beginning = beginning_in(request.query, "position")
        if self._is_stopping:
            raise ServerStopping("the server is shutting down")
        context = request.context(PROTOCOL)
        target, chosen = self._target(request, context, chosen)
        encoding = ENCODINGS[chosen.name]
        reader = Reader(
            request.connection, encoding, self._outflow(request), self._database.drained
        )
        await self._serve(request, reader, target.filter, context, beginning)

    def _outflow(self, request: Request) -> Outflow:
        connection = request.connection
        return Outflow(
            connection.transport,
            connection.port.backlog,
            limit_bytes=self._buffer_bytes,
            stall_s=self._stall_s,
        )

    def _target(
        self, request: Request, context: Context, chosen: StructuredFormat
    ) -> tuple[Target, StructuredFormat]:
        """What the path names, and the format that its ending may choose."""
        target = self._database.resolve(request.path, context)
        split = split_extension(request.path)
        if split is None or target.kind != "record" or self._database.get(target, context):
            return target, chosen
        wanted = next((one for one in FORMATS if one is split[1]), None)
        if wanted is None:  # a format of answers, which messages are not in
            return target, chosen
        try:
            return self._database.resolve(split[0], context), wanted
        except RecordNotFound:
            return target, chosen

    async def _serve(
        self,
        request: Request,
        reader: Reader,
        topic_filter: str,
        context: Context,
        beginning: Beginning,
    ) -> None:
        options = SubscribeOptions(
            reader.encoding,
            omit_current=beginning.omit_current,
            start_ms=beginning.start_ms,
            previous_count=beginning.previous_count,
            on_ready=reader.ready,
            on_reset=reader.reset,
            on_gap=reader.gap,
            on_error=reader.close,
        )
        subscribe = self._database.subscribe
        reset = ""
        try:
            subscription = subscribe(topic_filter, reader, context, options, beginning.after)
        except InvalidHeader as error:
            reset = str(error)  # as if the position were lost: current state, and a mark
            subscription = subscribe(topic_filter, reader, context, options)
        self._readers.add(reader)
        self._begun += 1
        end_watch = self._authentication.watch(request, reader.close)
        try:
            await request.receive()
            await request.send({"type": "websocket.accept"})
            reader.begin(subscription, reset)
            await reader.ended
        finally:
            end_watch()
            self._readers.discard(reader)
            subscription.close()

    def statistics(self) -> StreamStatistics:
        """The numbers of this moment."""
        return StreamStatistics(streams=len(self._readers), begun=self._begun)

    def stop(self) -> None:
        """Close all of them with 1012; clients come back by themselves."""
        self._is_stopping = True
        for reader in list(self._readers):
            reader.close(ServerStopping("the server is shutting down"))
