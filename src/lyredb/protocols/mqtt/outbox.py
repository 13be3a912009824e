"""What goes out to one reader: packet identifiers, its window, its queue, its drops.

Frames come in batches, joined once for all readers of a kind (`delivery.Batch`). A
batch without QoS 1 frames goes to the transport as it is. Of others the outbox takes
as many frames as the reader's window allows and writes its own packet identifiers
into a copy of that slice; the rest waits here.

Invariants: frames leave in the order in which they came; QoS 0 is dropped and
counted rather than buffered beyond the limit; at most ``window`` identifiers are in
flight, and the oldest of them is never more than 32,767 behind the next, so that an
identifier is free when its turn comes again [MQTT-2.2.1-3].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from lyredb.plugins.delivery import Batch

MAX_ID_DISTANCE = 32_767
"""Half of the identifiers; see the module's invariants."""


class Wire(Protocol):
    """The part of a transport that an outbox needs."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send or buffer; never blocks."""

    def get_write_buffer_size(self) -> int:
        """Bytes that wait in the transport."""


class Owner(Protocol):
    """Whose outbox it is."""

    def on_queue_full(self) -> None:
        """QoS 1 messages found the queue full and were dropped; called once per batch."""


class Waiting:
    """A batch of which frames from ``next`` on have not been sent."""

    __slots__ = ("data", "ends", "ids", "next")

    def __init__(self, data: bytes, ends: Sequence[int], ids: Sequence[int]) -> None:
        self.data = data
        self.ends = ends
        self.ids = ids
        self.next = 0


class Outbox:
    """Sends batches to one reader.

    Attributes:
        sent: Messages handed to the transport.
        dropped: Messages that this reader did not get, for whatever reason.
        queued: Messages that wait here.
        queued_bytes: What those have.

    Args:
        wire: The transport.
        window: QoS 1 messages in flight at most.
        largest: Largest packet that the reader takes, 0 for any.
        buffer_bytes: What may wait in the transport.
        max_queued: Messages that may wait here.
        max_queued_bytes: Their bytes.
        owner: Told when that is not enough.
    """

    __slots__ = (
        "_buffer_bytes",
        "_in_flight",
        "_largest",
        "_max_queued",
        "_max_queued_bytes",
        "_next_id",
        "_order",
        "_owner",
        "_queue",
        "_window",
        "_wire",
        "dropped",
        "queued",
        "queued_bytes",
        "sent",
    )

    def __init__(
        self,
        wire: Wire,
        *,
        window: int,
        largest: int,
        buffer_bytes: int,
        max_queued: int,
        max_queued_bytes: int,
        owner: Owner,
    ) -> None:
        self.sent = 0
        self.dropped = 0
        self._wire = wire
        self._window = window
        self._largest = largest
        self._buffer_bytes = buffer_bytes
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._owner = owner
        # Made when needed: an empty deque has 620 bytes, an empty set 216, and most clients
        # are idle.
        self._queue: deque[Waiting] | None = None
        self.queued = 0
        self.queued_bytes = 0
        self._next_id = 1
        self._in_flight: set[int] | None = None
        self._order: deque[int] | None = None

    @property
    def in_flight(self) -> int:
        """QoS 1 messages sent and not acknowledged."""
        return len(self._in_flight or ())

    @property
    def is_filling(self) -> bool:
        """True while the queue is more than half full: time to slow down publishers."""
        return self.queued > 0 and (
            self.queued * 2 > self._max_queued or self.queued_bytes * 2 > self._max_queued_bytes
        )

    def write(self, batch: Batch) -> None:
        """Send a batch, or queue or drop what cannot be sent now."""
        if self._largest and len(batch.data) > self._largest:
            batch = self._without_large(batch)
        count = batch.count
        if not count:
            return
        if not (batch.ends or self._queue):
            # No further call: one for each reader of each tick costs 5 % of its message.
            if self._wire.get_write_buffer_size() > self._buffer_bytes:
                self.dropped += count
            else:
                self._wire.write(batch.data)
                self.sent += count
            return
        waiting = _waiting(batch)
        if not self._queue:
            self._send(waiting)
            if waiting.next == len(waiting.ends):
                return
        self._enqueue(waiting)

    def take_pubacks(self, data: bytes, position: int) -> int:
        """Take the plain PUBACKs that begin at ``position``; they come in long runs.

        Returns where the first byte stands that is none of theirs. The caller pumps.
        """
        last = len(data) - 4
        while position <= last and data[position] == 0x40 and data[position + 1] == 2:
            packet_id = data[position + 2] << 8 | data[position + 3]
            if not packet_id:
                break
            self.acknowledge(packet_id)
            position += 4
        return position

    def acknowledge(self, packet_id: int) -> bool:
        """Take a PUBACK; False when nothing with this identifier is in flight."""
        in_flight = self._in_flight
        if not in_flight or packet_id not in in_flight:
            return False
        in_flight.remove(packet_id)
        order = self._order
        while order and order[0] not in in_flight:
            order.popleft()
        return True

    def pump(self) -> None:
        """Send what waits, as far as window and transport have room."""
        queue = self._queue
        while queue:
            head = queue[0]
            before = head.next
            start = head.ends[before - 1] if before else 0
            self._send(head)
            if head.next > before:
                self.queued -= head.next - before
                self.queued_bytes -= head.ends[head.next - 1] - start
            if head.next < len(head.ends):
                return
            queue.popleft()
        self._queue = None

    def close(self) -> None:
        """Forget what waits; it will not be sent."""
        self.dropped += self.queued
        self._queue = None
        self.queued = self.queued_bytes = 0

    def _room(self) -> int:
        """How many identifiers may be given out now."""
        room = self._window - self.in_flight
        if self._order:
            distance = (self._next_id - self._order[0]) % 65_535
            room = min(room, MAX_ID_DISTANCE - distance)
        return room

    def _send(self, waiting: Waiting) -> None:
        """Send frames from ``waiting.next`` on until the window or the buffer is full."""
        if self._wire.get_write_buffer_size() > self._buffer_bytes:
            return
        ids, first = waiting.ids, waiting.next
        last, room = first, self._room()
        for last in range(first, len(ids)):
            if ids[last]:
                if room <= 0:
                    break
                room -= 1
        else:
            last = len(ids)
        if last == first:
            return
        start = waiting.ends[first - 1] if first else 0
        end = waiting.ends[last - 1]
        self._wire.write(self._numbered(waiting, first, last, start, end))
        waiting.next = last
        self.sent += last - first

    def _numbered(self, waiting: Waiting, first: int, last: int, start: int, end: int) -> bytearray:
        """A copy of these frames with the next packet identifiers written into it."""
        out = bytearray(memoryview(waiting.data)[start:end])
        number, in_flight, order = self._next_id, self._in_flight, self._order
        if in_flight is None or order is None:
            in_flight = self._in_flight = set()
            order = self._order = deque()
        for offset in waiting.ids[first:last]:
            if offset:
                offset -= start
                out[offset] = number >> 8
                out[offset + 1] = number & 255
                order.append(number)
                in_flight.add(number)
                number = number + 1 if number < 65_535 else 1
        self._next_id = number
        return out

    def _enqueue(self, waiting: Waiting) -> None:
        """Queue what is left of a batch; what does not fit is dropped frame by frame."""
        count = len(waiting.ends) - waiting.next
        start = waiting.ends[waiting.next - 1] if waiting.next else 0
        size = waiting.ends[-1] - start
        if (
            self.queued + count <= self._max_queued
            and self.queued_bytes + size <= self._max_queued_bytes
        ):
            self.queued += count
            self.queued_bytes += size
            self._append(waiting)
            return
        self._enqueue_some(waiting, start)

    def _append(self, waiting: Waiting) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append(waiting)

    def _enqueue_some(self, waiting: Waiting, start: int) -> None:
        kept_ends: list[int] = []
        kept_ids: list[int] = []
        pieces: list[bytes] = []
        refused = False
        length = 0
        for index in range(waiting.next, len(waiting.ends)):
            end, offset = waiting.ends[index], waiting.ids[index]
            size = end - start
            if self.queued >= self._max_queued or self.queued_bytes + size > self._max_queued_bytes:
                self.dropped += 1
                refused = refused or bool(offset)
            else:
                pieces.append(waiting.data[start:end])
                kept_ids.append(offset - start + length if offset else 0)
                length += size
                kept_ends.append(length)
                self.queued += 1
                self.queued_bytes += size
            start = end
        if kept_ends:
            # A copy: it lets go of the joined bytes of a tick, which may be much more.
            self._append(Waiting(b"".join(pieces), kept_ends, kept_ids))
        if refused:
            self._owner.on_queue_full()

    def _without_large(self, batch: Batch) -> Batch:
        """Leave out frames above the reader's Maximum Packet Size [MQTT-3.1.2-24].

        [MQTT-3.1.2-25]: these are dropped as if they had been sent.
        """
        whole = _waiting(batch)
        start, length = 0, 0
        pieces: list[bytes] = []
        ends: list[int] = []
        ids: list[int] = []
        for end, offset in zip(whole.ends, whole.ids, strict=True):
            if end - start <= self._largest:
                pieces.append(whole.data[start:end])
                ids.append(offset - start + length if offset else 0)
                length += end - start
                ends.append(length)
            start = end
        self.dropped += batch.count - len(ends)
        if batch.droppable:
            return Batch(b"".join(pieces), len(ends))
        return Batch(b"".join(pieces), len(ends), ends, ids)


def _waiting(batch: Batch) -> Waiting:
    if batch.droppable:
        ends = frame_ends(batch.data)
        return Waiting(batch.data, ends, [0] * len(ends))
    if batch.count == len(batch.ends):
        return Waiting(batch.data, batch.ends, batch.ids)
    return _with_every_border(batch)


def _with_every_border(batch: Batch) -> Waiting:
    """A run of QoS 0 frames in a mixed batch has one border: find those in between."""
    ends: list[int] = []
    ids: list[int] = []
    start = 0
    for end, offset in zip(batch.ends, batch.ids, strict=True):
        inner = [end - start] if offset else frame_ends(batch.data[start:end])
        ends += [start + one for one in inner]
        ids += [offset] * len(inner)
        start = end
    return Waiting(batch.data, ends, ids)


def frame_ends(data: bytes) -> list[int]:
    """Where each of the joined, well-formed frames ends."""
    ends: list[int] = []
    position, size = 0, len(data)
    while position < size:
        length = shift = 0
        position += 1
        while True:
            digit = data[position]
            position += 1
            length |= (digit & 127) << shift
            if digit < 128:
                break
            shift += 7
        position += length
        ends.append(position)
    return ends
