"""What waits to be written in this tick, and writing it: one write per subscriber.

A flush may run inside of a flush: a subscriber's ``write`` can close it, closing leaves
its filters, and leaving flushes first. So batches stand in a queue that any flush works
off from its head: what was taken earlier is written earlier, whoever writes it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from lyredb.delivery.group import NOTHING, Borders, Group, Reader, Taken, join, merge
from lyredb.delivery.pressure import Pressure
from lyredb.plugins.delivery import Batch, Message, Publisher

_log = logging.getLogger(__name__)


class _Delivery:
    """One batch and the readers that still have to get it."""

    __slots__ = ("batch", "messages", "publishers", "readers")

    def __init__(self, taken: Taken, readers: Sequence[Reader], *, takes_messages: bool) -> None:
        self.readers: Iterator[Reader] = iter(readers)
        self.publishers = taken.publishers
        self.messages: list[Message] = []
        self.batch: Batch | None = None
        if takes_messages:
            self.messages = [message for _, message in taken.messages]
        else:
            self.batch = join(taken)


class Outbox:
    """Collects runs and messages per group; see the module.

    Attributes:
        writes: How many batches were handed to subscribers.
        frames: How many frames were in runs, each counted once per group.
    """

    __slots__ = (
        "_dirty",
        "_is_scheduled",
        "_number",
        "_pressure",
        "_queue",
        "_schedule",
        "frames",
        "writes",
    )

    def __init__(self, schedule: Callable[[Callable[[], None]], None], pressure: Pressure) -> None:
        self._schedule = schedule
        self._pressure = pressure
        self._is_scheduled = False
        self._number = 0
        self._dirty: list[Group] = []
        self._queue: deque[_Delivery] = deque()
        self.writes = 0
        self.frames = 0

    def add_run(
        self,
        group: Group,
        frames: bytes,
        count: int,
        publisher: Publisher | None,
        borders: Borders | None,
    ) -> None:
        """Let frames wait for a group (not a bundle)."""
        self._number += 1
        self.frames += count
        if not group.count:
            self._touch(group)
        group.count += count
        group.runs.append((self._number, frames, borders))
        if borders is not None:
            group.has_borders = True
        if publisher is not group.last_publisher and publisher is not None:
            group.last_publisher = publisher
            group.publishers[publisher] = None

    def add_message(self, group: Group, message: Message, publisher: Publisher | None) -> None:
        """Let a message wait for a group of readers in process."""
        self._number += 1
        self.frames += 1
        if not group.count:
            self._touch(group)
        group.count += 1
        group.messages.append((self._number, message))
        if publisher is not group.last_publisher and publisher is not None:
            group.last_publisher = publisher
            group.publishers[publisher] = None

    def _touch(self, group: Group) -> None:
        self._dirty.append(group)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._flush_tick)

    def _flush_tick(self) -> None:
        self._is_scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write all that waits; when it returns, everything pushed before was written."""
        if self._dirty:
            self._collect()
        while self._queue:
            self._write_first()

    def _collect(self) -> None:
        """Turn what the dirty groups have into deliveries, one join per set of groups."""
        dirty, self._dirty = self._dirty, []
        if len(dirty) == 1:
            group = dirty[0]
            group.take()
            self._enqueue((group,), tuple(group.readers))
        else:
            for groups, readers in _signatures(dirty).items():
                self._enqueue(groups, readers)
        for group in dirty:
            group.taken = NOTHING

    def _enqueue(self, groups: tuple[Group, ...], readers: Sequence[Reader]) -> None:
        if readers:
            taken = merge([group.taken for group in groups])
            takes_messages = groups[0].takes_messages
            self._queue.append(_Delivery(taken, readers, takes_messages=takes_messages))

    def _write_first(self) -> None:
        delivery = self._queue[0]
        batch, messages = delivery.batch, delivery.messages
        for reader in delivery.readers:
            self.writes += 1
            subscriber = reader.subscriber
            try:
                if batch is None:
                    subscriber.write_messages(messages)
                else:
                    subscriber.write(batch)
                if delivery.publishers and subscriber.is_congested:
                    self._pressure.hold_back(delivery.publishers, reader)
            except Exception as error:
                # The edge of a connection: a broken one must not cost the others theirs.
                _log.exception("a subscriber failed to take its messages and is closed")
                subscriber.close(error)
        if self._queue and self._queue[0] is delivery:
            self._queue.popleft()


def _signatures(dirty: Sequence[Group]) -> dict[tuple[Group, ...], list[Reader]]:
    """Group the readers by the set of dirty groups that they are in."""
    touched: list[Reader] = []
    for group in dirty:
        group.take()
        for reader in group.readers:
            if not reader.dirty:
                touched.append(reader)
            reader.dirty.append(group)
    signatures: dict[tuple[Group, ...], list[Reader]] = {}
    for reader in touched:
        signature = tuple(reader.dirty)
        reader.dirty = []
        signatures.setdefault(signature, []).append(reader)
    return signatures
