"""Subscriptions of code in the same process: events to iterate over."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from lyredb.delivery.message import Message as DeliveredMessage
from lyredb.errors import SlowSubscriber
from lyredb.plugins.delivery import Batch, Message
from lyredb.resources.in_process import ENCODING
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import Subscription
from lyredb.storage.keys import KeyValue
from lyredb.tables.gateway import Beginning, Event

MAX_WAITING = 10_000
"""Events that wait for a slow loop body; publishers are slowed down from half of it."""
MAX_WAITING_BYTES = 64_000_000
"""The same for what they are made from: a few dozen of the largest records."""


class Inbox:
    """Messages that wait for whoever iterates; the subscriber of `EventStream`."""

    def __init__(self) -> None:
        self.waiting: deque[Message] = deque()
        self.arrived = asyncio.Event()
        self.end: Exception | None = None
        self.is_congested = False
        self._bytes = 0

    def _takes_more_than(self, share: int) -> bool:
        """Tell whether more than one of so many parts of the waiting room is taken."""
        return len(self.waiting) > MAX_WAITING // share or self._bytes > MAX_WAITING_BYTES // share

    def write(self, batch: Batch) -> None:
        """Never called: `InProcessEncoding` takes messages."""
        raise AssertionError("readers in process take messages, not frames")

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Take the messages of a tick."""
        if self.end is not None:
            return
        self.waiting.extend(messages)
        self._bytes += sum(map(_size_of, messages))
        self.arrived.set()
        self.is_congested = self.is_congested or self._takes_more_than(2)
        if self._takes_more_than(1):
            self.close(
                SlowSubscriber(
                    f"more than {MAX_WAITING} events or {MAX_WAITING_BYTES} bytes waited for "
                    "this loop; subscribe again after the position of the last event"
                )
            )

    def take(self) -> Message:
        """Take the next one out; there is one."""
        message = self.waiting.popleft()
        self._bytes -= _size_of(message)
        return message

    def has_drained(self) -> bool:
        """Tell, once, that there is room again after it was congested."""
        if not self.is_congested or self._takes_more_than(4):
            return False
        self.is_congested = False
        return True

    def close(self, reason: Exception) -> None:
        """End with an error, which iterating raises after what has arrived."""
        if self.end is None:
            self.end = reason
        self.arrived.set()


def _size_of(message: Message) -> int:
    return cast(DeliveredMessage, message).size_bytes


class EventStream:
    """The events of one subscription; an `lyredb.tables.gateway.EventSource`.

    Args:
        subscribe: Makes the subscription, which is started at once.
        drained: Told when there is room again.
        start: What comes first.
    """

    def __init__(
        self,
        subscribe: Callable[[Inbox, SubscribeOptions], Subscription],
        drained: Callable[[Inbox], None],
        start: Beginning,
    ) -> None:
        self._drained = drained
        self._inbox = Inbox()
        options = SubscribeOptions(
            ENCODING,
            qos=1,
            omit_current=start.omit_current,
            start_ms=start.start_ms,
            previous_count=start.previous_count,
        )
        self._subscription = subscribe(self._inbox, options)
        self._subscription.start()

    async def next_event(self) -> Event[object]:
        """Wait for the next event.

        Raises:
            StopAsyncIteration: It was closed.
            SlowSubscriber: More than `MAX_WAITING` events or `MAX_WAITING_BYTES` waited.
            ServerStopping: The database was closed.
        """
        inbox = self._inbox
        while not inbox.waiting:
            if inbox.end is not None:
                self._subscription.close()
                raise inbox.end
            inbox.arrived.clear()
            await inbox.arrived.wait()
        message = inbox.take()
        if inbox.has_drained():
            self._drained(inbox)
            self._subscription.resume()
        return Event(
            message.kind,
            message.value(),
            cast("KeyValue | None", message.id),
            message.position,
            message.current,
            reason=cast(DeliveredMessage, message).reason,
        )

    async def close(self) -> None:
        """End the subscription; iterating ends after what has arrived already."""
        self._subscription.close()
        self._inbox.close(StopAsyncIteration())
