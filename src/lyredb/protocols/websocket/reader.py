"""One connection as a subscriber; its frames go straight to the transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from lyredb.plugins.delivery import Batch, Message
from lyredb.protocols.http.backlog import Outflow
from lyredb.protocols.http.websocket import WebSocketConnection
from lyredb.protocols.websocket.encoding import WebSocketEncoding
from lyredb.protocols.websocket.errors import close_code_of, close_reason_of
from lyredb.resources.held import Gap
from lyredb.resources.subscription import Subscription


class Reader:
    """A `lyredb.plugins.delivery.Subscriber`.

    Attributes:
        encoding: How envelopes look.
        ended: Done when it is over.

    Args:
        connection: Not accepted yet.
        encoding: Of the client's choice.
        outflow: Of the connection.
        on_drained: Called when a slow peer has caught up.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        encoding: WebSocketEncoding,
        outflow: Outflow,
        on_drained: Callable[[Reader], None],
    ) -> None:
        self.encoding = encoding
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._outflow = outflow
        self._on_drained = on_drained
        self._subscription: Subscription | None = None

    def begin(self, subscription: Subscription, reset: str = "") -> None:
        """Start; the connection was accepted.

        Args:
            subscription: Prepared for this reader.
            reset: Why the client's position is of no use, ``""`` otherwise.
        """
        self._subscription = subscription
        self._connection.ignores_messages = True
        self._connection.gone = self._gone
        self._connection.drained = self._drained
        self._connection.outflow = self._outflow
        if reset:
            self.reset(reset)
        subscription.start()

    def write(self, batch: Batch) -> None:
        """Send the frames of a tick."""
        self._send(batch.data)

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Never called: the encoding takes frames."""
        raise AssertionError("a WebSocket takes frames, not messages")

    @property
    def is_congested(self) -> bool:
        """True while the transport holds more than it likes to."""
        return self._connection.is_paused

    def ready(self, position: str) -> None:
        """Tell that the current state is complete."""
        self._send(self.encoding.mark({"type": "ready", "position": position}))

    def reset(self, reason: str) -> None:
        """Tell that what follows is current state and not what was missed."""
        self._send(self.encoding.mark({"type": "reset", "reason": reason}))

    def gap(self, gap: Gap) -> None:
        """Tell that messages which are in no log were not delivered."""
        missed = {"messages": gap.messages, "from": gap.from_ms, "to": gap.to_ms}
        self._send(self.encoding.mark({"type": "gap", **missed}))

    def close(self, reason: Exception) -> None:
        """Close the connection with the reason's code; a second call does nothing."""
        if not self.ended.done():
            self._gone()
            self._connection.end(close_code_of(reason), close_reason_of(reason))

    def _gone(self) -> None:
        if self.ended.done():
            return
        self.ended.set_result(None)
        self._connection.gone = self._connection.drained = None
        self._outflow.drained()
        if self._subscription is not None:
            self._subscription.close()

    def _send(self, data: bytes) -> None:
        if self.ended.done() or not self._connection.takes_frames:
            return
        may_go_on = self._outflow.write(data)
        if not may_go_on and self._subscription is not None:
            self._subscription.fall_behind()

    def _drained(self) -> None:
        self._outflow.drained()
        self._on_drained(self)
        if self._subscription is not None:
            self._subscription.resume()
