"""Current state once more, beside a subscription that goes on where it is.

A client that comes back to its session mostly subscribes again, and is to get the retained
messages then [MQTT-3.8.4-3]. Its subscription may still be reading what came while it slept,
which no new one would bring: so it stays, and another reader brings the current state alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from lyredb.plugins.delivery import Batch, Message, Subscriber
from lyredb.protocols.mqtt.openers import Opened
from lyredb.resources.requests import SubscribeOptions


class Restating:
    """Reads the current state of one filter (a `Subscriber`), and then no more.

    Args:
        owner: The connection, which may be congested.
        take: Gets the current state.
        on_end: Called with this when it is over.
    """

    __slots__ = ("_on_end", "_owner", "_reading", "_take")

    def __init__(
        self,
        owner: Subscriber,
        take: Callable[[Sequence[Message]], None],
        on_end: Callable[[Restating], None],
    ) -> None:
        self._owner = owner
        self._take = take
        self._on_end = on_end
        self._reading: Opened | None = None

    def options(self, options: SubscribeOptions) -> SubscribeOptions:
        """How it wants to be served."""
        return dataclasses.replace(
            options,
            on_messages=self.write_messages,
            on_ready=lambda _: self.end(),
            on_reset=None,
            on_error=lambda _: self.end(),
        )

    def read(self, reading: Opened) -> None:
        """Have what reads for it; it is not started."""
        self._reading = reading

    def start(self) -> None:
        """Begin to read."""
        if self._reading is not None:
            self._reading.start()

    def resume(self) -> None:
        """Go on: the client has drained."""
        if self._reading is not None:
            self._reading.resume()

    def end(self) -> None:
        """Read no more."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()
            self._on_end(self)

    def write(self, batch: Batch) -> None:
        """Never called: its encoding takes messages."""
        raise TypeError("current state is read as messages")

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Pass the current state on; changes come by the subscription."""
        self._take([message for message in messages if message.current])

    @property
    def is_congested(self) -> bool:
        """True while more waits for the client than the high-water mark."""
        return self._owner.is_congested

    def close(self, reason: Exception) -> None:
        """Read no more; the connection is told for itself."""
        self.end()
