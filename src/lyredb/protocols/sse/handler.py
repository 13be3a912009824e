"""Requests for streams: who may have one, from where it begins."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from lyredb.errors import InvalidHeader, ServerStopping
from lyredb.formats import ANSWERS
from lyredb.plugins.context import Context
from lyredb.protocols.http.accept import quality_of
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.backlog import Outflow
from lyredb.protocols.http.beginning import beginning_in
from lyredb.protocols.http.request import Request
from lyredb.protocols.http.statistics import StreamStatistics
from lyredb.protocols.sse.stream import HEAD, Stream
from lyredb.resources.database import Database
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import Subscription
from lyredb.security.principals import ANONYMOUS
from lyredb.tables.gateway import Beginning

PROTOCOL: Final = "sse"
MEDIA_TYPE: Final = "text/event-stream"
QUALITY: Final = 0.8
"""The server's preference, as for JSON; on a tie the stream wins."""

_READS: Final = frozenset(("GET", "HEAD"))
_RESOLVING: Final = Context(ANONYMOUS, PROTOCOL)


def wants_stream(accept: str) -> bool:
    """Tell whether a client likes a stream at least as much as any other answer."""
    wish = quality_of(accept, MEDIA_TYPE) * QUALITY
    others = (quality_of(accept, one.media_type) * one.quality for one in ANSWERS)
    return wish > 0 and wish >= max(others)


class Streams:
    """The handler that is mounted, and all streams of a worker.

    Args:
        database: Where everything is.
        authentication: Who asks.
        heartbeat_s: How often silent streams get a comment.
        buffer_bytes: How much may wait for a client.
        stall_s: How long a client may take nothing of it.
        retry_s: How long a client shall wait before it connects again.
    """

    def __init__(
        self,
        database: Database,
        authentication: Authentication,
        *,
        heartbeat_s: float,
        buffer_bytes: int,
        stall_s: float,
        retry_s: float,
    ) -> None:
        self._database = database
        self._authentication = authentication
        self._heartbeat_s = heartbeat_s
        self._buffer_bytes = buffer_bytes
        self._stall_s = stall_s
        self._retry_s = retry_s
        self._streams: set[Stream] = set()
        self._begun = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_stopping = False

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for a stream."""
        accept = request.headers.get(b"accept")
        if accept is None or request.method not in _READS or request.is_websocket:
            return False
        return b"text/event-stream" in accept.lower() and wants_stream(accept.decode("latin-1"))

    async def answer(self, request: Request) -> None:
        """Stream until the end."""
        target = self._database.resolve(request.path, _RESOLVING)
        topic_filter = target.filter
        await self._authentication.authenticate(request)
        self._authentication.admit_stream(request)
        beginning = beginning_of(request)
        if self._is_stopping:
            raise ServerStopping("the server is shutting down")
        stream = self._stream(request)
        subscription, reset = self._subscribe(stream, topic_filter, request, beginning)
        if request.method == "HEAD":
            subscription.close()  # whoever may have the stream learns what it would be
            request.respond_head(200, HEAD)
            return
        stream.begin(subscription, self._retry_s, reset)
        self._streams.add(stream)
        self._begun += 1
        end_watch = self._authentication.watch(request, stream.close)
        try:
            await stream.ended
        finally:
            end_watch()
            self._streams.discard(stream)
            stream.close()

    def _stream(self, request: Request) -> Stream:
        exchange = request.exchange
        outflow = Outflow(
            exchange.transport,
            exchange.guard.port.backlog,
            limit_bytes=self._buffer_bytes,
            stall_s=self._stall_s,
        )
        return Stream(exchange, outflow, self._database.drained)

    def _subscribe(
        self, stream: Stream, topic_filter: str, request: Request, beginning: Beginning
    ) -> tuple[Subscription, str]:
        """Prepare the subscription; with why the position is of no use, ``""`` otherwise."""
        context = request.context(PROTOCOL)
        options = SubscribeOptions(
            stream.encoding,
            omit_current=beginning.omit_current,
            start_ms=beginning.start_ms,
            previous_count=beginning.previous_count,
            on_ready=stream.ready,
            on_reset=stream.reset,
            on_gap=stream.gap,
            on_error=stream.close,
        )
        subscribe = self._database.subscribe
        try:
            return subscribe(topic_filter, stream, context, options, beginning.after), ""
        except InvalidHeader as error:
            # An EventSource never comes back after a 400, so this is as if the position
            # were lost.
            return subscribe(topic_filter, stream, context, options), str(error)

    def statistics(self) -> StreamStatistics:
        """The numbers of this moment."""
        return StreamStatistics(streams=len(self._streams), begun=self._begun)

    def start(self) -> None:
        """Begin to beat."""
        self._timer = asyncio.get_running_loop().call_later(self._heartbeat_s, self._beat)

    def stop(self) -> None:
        """End all streams; clients come back by themselves."""
        self._is_stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for stream in list(self._streams):
            stream.close()

    def _beat(self) -> None:
        for stream in list(self._streams):
            stream.beat()
        self.start()


def beginning_of(request: Request) -> Beginning:
    """Where the stream begins; the header ``Last-Event-ID`` wins over ``?lastEventId=``.

    Raises:
        InvalidQuery: There are conditions, or a value makes no sense.
    """
    asked = beginning_in(request.query, "lastEventId")
    header = request.header(b"last-event-id").strip()
    return replace(asked, after=header) if header else asked
