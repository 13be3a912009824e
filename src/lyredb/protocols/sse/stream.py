"""One stream: a subscriber whose bytes go straight to the connection's transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from lyredb.plugins.delivery import Batch, Message
from lyredb.protocols.http.backlog import Outflow
from lyredb.protocols.http.exchange import Exchange
from lyredb.protocols.sse.encoding import CHUNKED, PLAIN, SseEncoding
from lyredb.resources.held import Gap
from lyredb.resources.subscription import Subscription

HEAD: Final = (
    b"content-type: text/event-stream\r\ncache-control: no-store\r\n"
    b"x-accel-buffering: no\r\nvary: accept\r\n"
)
"""Of every stream. The third line is for nginx, which would hold events back otherwise."""


class Stream:
    """A `lyredb.plugins.delivery.Subscriber`; ends when the peer, the server or delivery ends it.

    Attributes:
        encoding: How events look.
        ended: Done when the stream is over.
        wrote: True since the last heartbeat when anything was sent.

    Args:
        exchange: The request and its response, not begun.
        outflow: Of the connection.
        on_drained: Called when a slow peer has caught up.
    """

    def __init__(
        self, exchange: Exchange, outflow: Outflow, on_drained: Callable[[Stream], None]
    ) -> None:
        self.encoding: SseEncoding = CHUNKED if exchange.chunked else PLAIN
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wrote = False
        self._exchange = exchange
        self._outflow = outflow
        self._on_drained = on_drained
        self._subscription: Subscription | None = None

    def begin(self, subscription: Subscription, retry_s: float, reset: str = "") -> None:
        """Send the head, then start the subscription.

        Args:
            subscription: Prepared for this stream.
            retry_s: How long the client shall wait before it connects again.
            reset: Why the client's position is of no use, ``""`` otherwise.
        """
        self._subscription = subscription
        guard = self._exchange.guard
        guard.gone = self.close
        guard.drained = self._drained
        guard.outflow = self._outflow
        self._exchange.start_stream(200, HEAD)
        self._send(self.encoding.wrap(b"retry: %d\n\n" % round(retry_s * 1000)))
        if reset:
            self.reset(reset)
        subscription.start()

    def write(self, batch: Batch) -> None:
        """Send the events of a tick."""
        self._send(batch.data)

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Never called: the encoding takes frames."""
        raise AssertionError("a stream takes frames, not messages")

    @property
    def is_congested(self) -> bool:
        """True while the transport holds more than it likes to."""
        return self._exchange.flow.write_paused

    def ready(self, position: str) -> None:
        """Tell that the current state is complete."""
        self._send(self.encoding.mark("ready", {"position": position}, position))

    def reset(self, reason: str) -> None:
        """Tell that what follows is current state and not what was missed."""
        self._send(self.encoding.mark("reset", {"reason": reason}))

    def gap(self, gap: Gap) -> None:
        """Tell that messages which are in no log were not delivered."""
        missed: dict[str, object] = {"messages": gap.messages, "from": gap.from_ms, "to": gap.to_ms}
        self._send(self.encoding.mark("gap", missed))

    def beat(self) -> None:
        """Send a comment, unless something was sent since the last one, or still waits."""
        if not self.wrote and not self.is_congested:
            self._send(self.encoding.wrap(b":\n\n"))
        self.wrote = False

    def close(self, reason: Exception | None = None) -> None:
        """End the stream; what was written still goes out. A second call does nothing."""
        if self.ended.done():
            return
        self.ended.set_result(None)
        guard = self._exchange.guard
        guard.gone = guard.drained = guard.outflow = None
        self._outflow.drained()
        if self._subscription is not None:
            self._subscription.close()
        self._exchange.keep_alive = False
        self._exchange.end_stream()

    def _send(self, data: bytes) -> None:
        if self.ended.done() or self._exchange.disconnected:
            return
        self.wrote = True
        may_go_on = self._outflow.write(data)
        if not may_go_on and self._subscription is not None:
            self._subscription.fall_behind()

    def _drained(self) -> None:
        self._outflow.drained()
        self._on_drained(self)
        if self._subscription is not None:
            self._subscription.resume()
