"""What waits to be written in this tick, and writing it: one write per subscriber.

A frame that comes alone in its tick has nobody to be joined with. Where that was so in the
last ticks, the next one is written in the call that brings it; as soon as two come in one
tick, they wait for its end again (`Outbox.write_lone`).

A flush may run inside of a flush: a subscriber's ``write`` can close it, closing leaves
its filters, and leaving flushes first. So batches stand in a queue that any flush works
off from its head: what was taken earlier is written earlier, whoever writes it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from lyredb.delivery.group import NOTHING, Borders, Bundle, Group, Load, Reader, join, merge
from lyredb.delivery.pressure import Pressure
from lyredb.plugins.delivery import Batch, Message, Publisher, Subscriber

_log = logging.getLogger(__name__)

LONE_TICKS: Final = 16
"""Ticks with one frame each, in a row, before frames are written at once."""
LOOK_EVERY: Final = 8
"""Frames written at once for each time that a tick is asked for, to see whether two came in
one. So many writes at most could have been one, each time that the load changes."""


class _Delivery:
    """A batch or messages, and the readers that still have to get them.

    No tuple: the queue tells its deliveries apart by identity, which tuples lose in the
    compiled form.
    """

    __slots__ = ("batch", "load", "messages", "readers")

    def __init__(
        self,
        readers: Iterator[Reader],
        batch: Batch | None,
        messages: Sequence[Message],
        load: Load,
    ) -> None:
        self.readers = readers
        self.batch = batch
        self.messages = messages
        self.load = load


class Outbox:
    """Collects runs and messages per group; see the module.

    Attributes:
        writes: How many batches were handed to subscribers.
        frames: How many frames were in runs, each counted once per group.
    """

    __slots__ = (
        "_dirty",
        "_is_scheduled",
        "_lone_number",
        "_lone_ticks",
        "_number",
        "_pressure",
        "_queue",
        "_schedule",
        "_unseen",
        "frames",
        "writes",
    )

    def __init__(
        self, schedule: Callable[[Callable[[], None]], object], pressure: Pressure
    ) -> None:
        self._schedule = schedule
        self._pressure = pressure
        self._is_scheduled = False
        self._number = 0
        self._lone_number = 0
        self._lone_ticks = 0
        self._unseen = 0
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
        load = group.load
        if load is None:
            load = self._touch(group, publisher)
        elif publisher is not load.publisher:
            load.change_publisher(publisher)
        self._number = number = self._number + 1
        load.count += count
        load.runs.append((number, frames, borders))
        if borders is not None:
            load.has_borders = True

    def write_lone(self, group: Group, frame: bytes, publisher: Publisher | None) -> bool:
        """Write a frame that was all of a read, unless it may have company in this tick.

        It may where anything waits, and where the last ticks had more than one frame.

        Args:
            group: Or a bundle.
            frame: Of QoS 0.
            publisher: Who may be paused when a subscriber cannot keep up.

        Returns:
            False when it has to wait for the end of the tick: the caller adds it next.
        """
        if self._dirty or self._queue:
            return False
        if self._lone_ticks < LONE_TICKS or self._is_scheduled:
            if self._lone_ticks >= LONE_TICKS:
                self._lone_ticks = 0  # another one since it began to look: they come together
            self._lone_number = self._number + _width(group)
            return False
        self._unseen += 1
        if self._unseen >= LOOK_EVERY:
            self._unseen = 0
            self._is_scheduled = True
            self._schedule(self._flush_tick)
        batch = Batch(frame, 1)
        if group.is_bundle or len(group.readers) != 1:
            self._write_to_all(group, batch, publisher)
            return True
        # Without the queue: there is nobody else whom an inner flush could overtake.
        self.frames += 1
        self.writes += 1
        reader = next(iter(group.readers))
        subscriber = reader.subscriber
        try:
            is_clear = subscriber.write(batch) is False
            if publisher is not None and not is_clear and subscriber.is_congested:
                self._pressure.hold_back((publisher,), reader)
        except Exception as error:
            _close(subscriber, error)
        return True

    def _write_to_all(self, group: Group, batch: Batch, publisher: Publisher | None) -> None:
        if group.is_bundle:
            assert isinstance(group, Bundle), "is_bundle says so"
            for member in group.members:
                self._enqueue_lone(member, batch, publisher)
        else:
            self._enqueue_lone(group, batch, publisher)
        while self._queue:
            self._write_first()

    def _enqueue_lone(self, group: Group, batch: Batch, publisher: Publisher | None) -> None:
        readers = tuple(group.readers)
        self.frames += 1
        self.writes += len(readers)
        self._queue.append(_Delivery(iter(readers), batch, (), Load(publisher)))

    def add_message(self, group: Group, message: Message, publisher: Publisher | None) -> None:
        """Let a message wait for a group of readers in process."""
        load = group.load
        if load is None:
            load = self._touch(group, publisher)
        elif publisher is not load.publisher:
            load.change_publisher(publisher)
        self._number += 1
        load.count += 1
        if load.messages is None:
            load.messages = []
        load.messages.append((self._number, message))

    def _touch(self, group: Group, publisher: Publisher | None) -> Load:
        """Begin the group's load of this tick."""
        self._dirty.append(group)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._schedule(self._flush_tick)
        load = group.load = Load(publisher)
        return load

    def _flush_tick(self) -> None:
        self._is_scheduled = False
        if self._number != self._lone_number:
            self._lone_ticks = 0
            self._lone_number = self._number
        elif self._lone_ticks < LONE_TICKS:
            self._lone_ticks += 1
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
            load, group.load = group.load, None
            assert load is not None, "it is dirty"
            self.frames += load.count
            self._enqueue(group, load, tuple(group.readers))
            return
        for group in dirty:
            group.take()
            self.frames += group.taken.count
        for groups, readers in _signatures(dirty).items():
            load = merge([group.taken for group in groups])
            self._enqueue(groups[0], load, readers)
        for group in dirty:
            if group.alone:
                self._enqueue(group, group.taken, group.alone)
                group.alone = []
        for group in dirty:
            group.taken = NOTHING

    def _enqueue(self, group: Group, load: Load, readers: Sequence[Reader]) -> None:
        self.writes += len(readers)
        if group.takes_messages:
            messages = [message for _, message in load.messages or ()]
            self._queue.append(_Delivery(iter(readers), None, messages, load))
        else:
            self._queue.append(_Delivery(iter(readers), join(load), (), load))

    def _write_first(self) -> None:
        delivery = self._queue[0]
        batch, messages, load = delivery.batch, delivery.messages, delivery.load
        may_pause = load.publisher is not None or load.publishers is not None
        for reader in delivery.readers:
            subscriber = reader.subscriber
            try:
                if batch is None:
                    subscriber.write_messages(messages)
                elif subscriber.write(batch) is False:
                    continue
                if may_pause and subscriber.is_congested:
                    self._pressure.hold_back(load.all_publishers(), reader)
            except Exception as error:
                _close(subscriber, error)
        if self._queue and self._queue[0] is delivery:
            self._queue.popleft()


def _width(group: Group) -> int:
    """How many groups get what is pushed to this one."""
    if group.is_bundle:
        assert isinstance(group, Bundle), "is_bundle says so"
        return len(group.members)
    return 1


def _close(subscriber: Subscriber, error: Exception) -> None:
    # The edge of a connection: a broken one must not cost the others theirs.
    _log.exception("a subscriber failed to take its messages and is closed")
    subscriber.close(error)


def _signatures(dirty: Sequence[Group]) -> dict[tuple[Group, ...], list[Reader]]:
    """Group the readers that are in several dirty groups by the set of these.

    Who is in one of them only is put into that group's ``alone``.
    """
    touched: list[Reader] = []
    for group in dirty:
        for reader in group.readers:
            if reader.first is None:
                reader.first = group
                touched.append(reader)
            elif reader.dirty is None:
                reader.dirty = [reader.first, group]
            else:
                reader.dirty.append(group)
    signatures: dict[tuple[Group, ...], list[Reader]] = {}
    for reader in touched:
        if reader.dirty is not None:
            signatures.setdefault(tuple(reader.dirty), []).append(reader)
            reader.dirty = None
        elif reader.first is not None:
            reader.first.alone.append(reader)
        reader.first = None
    return signatures
