"""What goes out to one reader: packet identifiers, its window, its queue, its drops.

Frames come in batches, joined once for all readers of a kind (`delivery.Batch`). A
batch of QoS 0 frames goes to the transport as it is. Of others the outbox takes
as many frames as the reader's window allows and writes its own packet identifiers
into a copy of that slice; the rest waits here. It keeps identifiers only: a session that
ends with its connection sends nothing again.

Invariants: frames leave in the order in which they came; QoS 0 is dropped and
counted rather than buffered beyond the limit; at most ``window`` identifiers are in
flight, and the oldest of them is never more than 32,767 behind the next, so that an
identifier is free when its turn comes again [MQTT-2.2.1-3].
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from lyredb.plugins.delivery import Batch, Encoding, Message
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.exact import NOT_FOUND, Exact, Step
from lyredb.protocols.mqtt.numbering import (
    FEWEST,
    begins_with_pubacks,
    plain_answers,
    write_ids,
)
from lyredb.protocols.mqtt.packets import V5
from lyredb.protocols.mqtt.waiting import Waiting, waiting, without_large
from lyredb.sessions.receipts import Receipt

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
        """Messages above QoS 0 found the queue full and were dropped; called once per batch."""


class Outbox:
    """Sends batches to one reader.

    Attributes:
        sent: Messages handed to the transport.
        sent_bytes: Of these.
        dropped: Messages that this reader did not get, for whatever reason.
        queued: Messages that wait here.
        queued_bytes: What those have.
        may_be_exact: Frames of QoS 2 may come: a subscription was granted it.

    Args:
        wire: The transport.
        encoding: Of single messages.
        version: Of the protocol.
        window: Messages above QoS 0 in flight at most.
        largest: Largest packet that the reader takes, 0 for any.
        buffer_bytes: What may wait in the transport.
        max_queued: Messages that may wait here.
        max_queued_bytes: Their bytes.
        owner: Told when that is not enough.
    """

    __slots__ = (
        "_buffer_bytes",
        "_encoding",
        "_exact",
        "_in_flight",
        "_largest",
        "_max_queued",
        "_max_queued_bytes",
        "_next_id",
        "_order",
        "_owner",
        "_queue",
        "_version",
        "_window",
        "_wire",
        "dropped",
        "may_be_exact",
        "queued",
        "queued_bytes",
        "sent",
        "sent_bytes",
    )

    def __init__(
        self,
        wire: Wire,
        *,
        encoding: Encoding,
        version: int,
        window: int,
        largest: int,
        buffer_bytes: int,
        max_queued: int,
        max_queued_bytes: int,
        owner: Owner,
    ) -> None:
        self.sent = 0
        self.sent_bytes = 0
        self.dropped = 0
        self.may_be_exact = False
        self._wire = wire
        self._encoding = encoding
        self._version = version
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
        self._exact: Exact | None = None

    @property
    def in_flight(self) -> int:
        """Messages above QoS 0 that were sent and are not at their end."""
        return len(self._in_flight or ())

    @property
    def is_filling(self) -> bool:
        """True while the queue is more than half full: time to slow down publishers."""
        return self.queued > 0 and (
            self.queued * 2 > self._max_queued or self.queued_bytes * 2 > self._max_queued_bytes
        )

    def write_to(self, wire: Wire) -> None:
        """Write there from now on: to the same client, by way of what traces it or not."""
        self._wire = wire

    def write(self, batch: Batch) -> None:
        """Send a batch, or queue or drop what cannot be sent now."""
        if self._largest and len(batch.data) > self._largest:
            # [MQTT-3.1.2-25]: those are dropped as if they had been sent.
            whole, batch = batch.count, without_large(batch, self._largest)
            self.dropped += whole - batch.count
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
                self.sent_bytes += len(batch.data)
            return
        self._put(waiting(batch))

    def _put(self, batch: Waiting) -> None:
        if not self._queue:
            self._send(batch)
            if batch.next == len(batch.ends):
                return
        self._enqueue(batch)

    def tell(
        self,
        message: Message,
        qos: int,
        ids: tuple[int, ...],
        settled: Callable[[bool], None],
        taken: Callable[[], None] | None = None,
        receipt: Receipt | None = None,
    ) -> None:
        """Send one message; see `openers.Outgoing.tell`. No session takes it."""
        qos = min(qos, message.qos)
        retain = message.current
        frame, offset = self._encoding.frame(message, qos=qos, retain=retain, ids=ids)
        if 0 < self._largest < len(frame):
            self.dropped += 1
            settled(True)  # [MQTT-3.1.2-25]: as if it had been sent
            return
        single = Waiting(frame, (len(frame),), (offset,))
        single.settled = settled
        if qos == 2:
            self.may_be_exact = True
        self._put(single)

    def take_replies(self, data: bytes, position: int) -> int:
        """Take the plain PUBACKs, PUBRECs or PUBCOMPs at ``position``; they come in long runs.

        Returns where the first byte stands that is none of theirs. The caller pumps.
        """
        first = data[position]
        if first == 0x40:
            position = self._acknowledge_all(data, position)
        packet_ids, position = plain_answers(data, position, first)
        if first == 0x50:
            releases = b"".join([self._release(packet_id, 0) for packet_id in packet_ids])
            if releases:
                self._wire.write(releases)
        else:
            end = self.acknowledge if first == 0x40 else self.complete
            for packet_id in packet_ids:
                end(packet_id)
        return position

    def _acknowledge_all(self, data: bytes, position: int) -> int:
        """Take the PUBACKs of the oldest messages in their order, when nothing else is there."""
        order, in_flight = self._order, self._in_flight
        if not order or not in_flight or self._exact is not None:
            return position
        # Identifiers in ``order`` follow each other; all of them are in flight if as many are.
        count = min(len(order), (len(data) - position) // 4)
        if count < FEWEST or len(in_flight) != len(order):
            return position
        if not begins_with_pubacks(data, position, order[0], count):
            return position
        if count == len(order):
            order.clear()
            in_flight.clear()
        else:
            in_flight.difference_update(range(order[0], order[0] + count))
            for _ in range(count):
                order.popleft()
        return position + 4 * count

    def acknowledge(self, packet_id: int) -> bool:
        """Take a PUBACK; False when nothing with this identifier is in flight."""
        in_flight = self._in_flight
        if not in_flight or packet_id not in in_flight:
            return False
        if self._exact is not None:
            if not self._exact.takes_puback(packet_id):
                return False
            self._exact.settle(packet_id)
        self._free(packet_id, in_flight)
        return True

    def _free(self, packet_id: int, in_flight: set[int]) -> None:
        in_flight.remove(packet_id)
        order = self._order
        while order and order[0] not in in_flight:
            order.popleft()

    def receive(self, packet_id: int, reason: int) -> None:
        """Take a PUBREC, and answer it where it has an answer."""
        release = self._release(packet_id, reason)
        if release:
            self._wire.write(release)

    def _release(self, packet_id: int, reason: int) -> bytes:
        """Take a PUBREC; the PUBREL that it is answered with, ``b""`` for none.

        [MQTT-4.3.3-4]; an identifier that is not known is released too, so that the client
        can forget it (§3.6.2.1).
        """
        step = Step.UNKNOWN if self._exact is None else self._exact.receive(packet_id, reason)
        if step is Step.RELEASE:
            return encode.pubrel(packet_id)
        if step is Step.UNKNOWN:
            return encode.pubrel(packet_id, NOT_FOUND if self._version == V5 else 0)
        self._end_exact(packet_id)
        return b""

    def complete(self, packet_id: int) -> None:
        """Take a PUBCOMP."""
        if self._exact is not None and self._exact.complete(packet_id):
            self._end_exact(packet_id)

    def _end_exact(self, packet_id: int) -> None:
        if self._exact is not None and self._in_flight and packet_id in self._in_flight:
            self._free(packet_id, self._in_flight)
            self._exact.settle(packet_id)

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
        queue, self._queue = self._queue or (), None
        self.queued = self.queued_bytes = 0
        for waiting_batch in queue:
            waiting_batch.give_up()
        if self._exact is not None:
            self._exact.give_up()

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
        if room >= len(ids) - first:
            last = len(ids)  # whether each needs an identifier or not
        else:
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
        self.sent_bytes += end - start
        if waiting.settled is not None and not ids[0]:
            settled, waiting.settled = waiting.settled, None
            settled(True)

    def _numbered(self, waiting: Waiting, first: int, last: int, start: int, end: int) -> bytearray:
        """A copy of these frames with the next packet identifiers written into it."""
        out = bytearray(memoryview(waiting.data)[start:end])
        number, in_flight, order = self._next_id, self._in_flight, self._order
        if in_flight is None or order is None:
            in_flight = self._in_flight = set()
            order = self._order = deque()
        offsets = waiting.ids[first:last]
        if write_ids(out, offsets, start, number):
            numbers = range(number, number + len(offsets))
            order.extend(numbers)
            in_flight.update(numbers)
            number = numbers[-1] + 1 if numbers[-1] < 65_535 else 1
            offsets = ()
        for offset in offsets:
            if offset:
                offset -= start
                out[offset] = number >> 8
                out[offset + 1] = number & 255
                order.append(number)
                in_flight.add(number)
                number = number + 1 if number < 65_535 else 1
        if self.may_be_exact or waiting.settled is not None:
            self._note_exact(waiting, first, last)
        self._next_id = number
        return out

    def _note_exact(self, waiting: Waiting, first: int, last: int) -> None:
        """Keep which of the identifiers that are given out now are of QoS 2."""
        exact = self._exact
        if exact is None:
            exact = self._exact = Exact()
        number = self._next_id
        data, ends = waiting.data, waiting.ends
        for index in range(first, last):
            if waiting.ids[index]:
                if data[ends[index - 1] if index else 0] & 6 == 4:
                    exact.sent.add(number)
                if waiting.settled is not None:
                    exact.settled[number] = waiting.settled
                    waiting.settled = None
                number = number + 1 if number < 65_535 else 1

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
                waiting.give_up()
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
