"""Did every message arrive, once, in order? Checked in the measured run itself.

The fast way compares what a socket gave with the bytes that must come next: one
``memcmp`` proves content, order and completeness of thousands of frames. Bytes that
differ are read frame by frame, which counts what was lost, repeated or out of order,
and accepts what a server may legally write differently (MQTT 5 properties, reasons).
"""

from __future__ import annotations

import re
from typing import Protocol

from bench.load.faults import Faults
from bench.load.flow import FIRST_NUMBER, Flow, place_of
from bench.load.wire import Answered, Delivered, Event, Other


class Check(Protocol):
    """What reads one socket of the load."""

    faults: Faults

    @property
    def progress(self) -> int:
        """How many messages of the run are behind us, lost ones included."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the socket; return what must be answered."""

    def finish(self, sent: int) -> None:
        """Count what of the ``sent`` messages has not come."""


class Sequence:
    """Follows the numbers of a cycle and names every deviation."""

    def __init__(self, cycle: int, start: int, faults: Faults) -> None:
        self.next = start
        self._cycle = cycle
        self._missing: set[int] = set()
        self._faults = faults

    def note(self, place: int) -> None:
        """Count the arrival of message ``place`` of the cycle."""
        ahead = (place - self.next) % self._cycle
        if ahead < max(1, self._cycle // 2):
            self._missing.update(range(self.next, self.next + ahead))
            self._faults.lost += ahead
            self.next += ahead + 1
            return
        late = self.next + ahead - self._cycle
        if late in self._missing:
            self._missing.remove(late)
            self._faults.lost -= 1
            self._faults.disordered += 1
        else:
            self._faults.duplicated += 1


class Compared:
    """A stream of equal frames that repeats; ``skip`` moves on if bytes are as expected."""

    def __init__(self, cycle: bytes, messages: int) -> None:
        self.frame_bytes = len(cycle) // messages
        self._cycle = cycle
        self._bytes = len(cycle)
        self._twice = cycle * 2  # so that a read may span the end of the cycle
        self._at = 0
        self._total = 0

    def skip(self, data: bytes) -> bool:
        size = len(data)
        expected = self._twice
        if size > self._bytes:  # of a short cycle a read may bring several
            expected = self._cycle * (size // self._bytes + 2)
        if not expected.startswith(data, self._at):
            return False
        self._at = (self._at + size) % self._bytes
        self._total += size
        return True

    @property
    def frames(self) -> int:
        return self._total // self.frame_bytes

    def begun(self) -> bytes:
        """Return the bytes of the frame of which only a part has come."""
        return self._twice[self._at - self._at % self.frame_bytes : self._at]


class DeliveryCheck:
    """Reads what a subscriber gets; QoS 1 is acknowledged, one write per read.

    Args:
        flow: What is sent.
        qos: Of the subscription.
        places: Which messages of the cycle this subscriber gets; all by default.
    """

    def __init__(self, flow: Flow, qos: int, places: range | None = None) -> None:
        self.faults = Faults()
        self._flow = flow
        self._places = flow.everything() if places is None else places
        self._expected = Compared(flow.delivered(qos, self._places), len(self._places))
        self._qos = min(qos, flow.qos)
        self._id_at = flow.id_at() if self._qos else 0
        self._rest = b""
        self._sequence: Sequence | None = None
        self._reader = flow.wire.reader()

    @property
    def progress(self) -> int:
        return self._sequence.next if self._sequence else self._expected.frames

    def feed(self, data: bytes) -> bytes:
        if self._sequence is not None:
            return self._walk(self._sequence, data)
        if self._qos:
            return self._acknowledge(self._rest + data)
        if self._expected.skip(data):
            return b""
        interruption = self._flow.wire.interruption
        if interruption and interruption in data:  # no payload of ours has these bytes
            return self._flow.wire.reply + self.feed(data.replace(interruption, b"", 1))
        return self._doubt(data)

    def finish(self, sent: int) -> None:
        step, first = self._places.step, self._places.start
        wanted = max(0, -(-(sent - first) // step))
        self.faults.lost += max(0, wanted - self.progress)

    def _acknowledge(self, data: bytes) -> bytes:
        """Compare whole frames with their packet identifiers taken out; answer these."""
        size, at = self._expected.frame_bytes, self._id_at
        count = len(data) // size
        masked = bytearray(data[: count * size])
        high, low = bytes(masked[at::size]), bytes(masked[at + 1 :: size])
        masked[at::size] = masked[at + 1 :: size] = bytes(count)
        if len(high) != count or len(low) != count or not self._expected.skip(bytes(masked)):
            return self._doubt(data)
        self._rest = data[count * size :]
        answers = bytearray(b"\x40\x02\x00\x00" * count)
        answers[2::4], answers[3::4] = high, low
        return bytes(answers)

    def _doubt(self, data: bytes) -> bytes:
        """Read frame by frame from now on."""
        begun = b"" if self._qos else self._expected.begun()
        self._sequence = Sequence(len(self._places), self._expected.frames, self.faults)
        return self._walk(self._sequence, begun + data)

    def _walk(self, sequence: Sequence, data: bytes) -> bytes:
        return b"".join(self._take(sequence, event) for event in self._reader.feed(data))

    def _take(self, sequence: Sequence, event: Event) -> bytes:
        if not isinstance(event, Delivered):
            answer = event.answer if isinstance(event, Other) else b""
            self.faults.foreign += not answer
            return answer
        place = place_of(event.payload)
        about = self._flow.wire.about(event.payload)
        if (
            place not in self._places
            or self._flow.topic(place) != event.topic
            or about not in event.about
        ):
            self.faults.foreign += 1
        else:
            sequence.note(self._places.index(place))
        return event.answer


class AckCheck:
    """Reads the PUBACKs that a publisher gets; they come in order (MQTT 5 §4.6)."""

    def __init__(self, flow: Flow) -> None:
        self.faults = Faults()
        self._ids = flow.ids
        self._expected = Compared(flow.acknowledged(), flow.ids)
        self._sequence: Sequence | None = None
        self._reader = flow.wire.reader()

    @property
    def progress(self) -> int:
        return self._sequence.next if self._sequence else self._expected.frames

    def feed(self, data: bytes) -> bytes:
        if self._sequence is None:
            if self._expected.skip(data):
                return b""
            self._sequence = Sequence(self._ids, self._expected.frames, self.faults)
            data = self._expected.begun() + data
        for event in self._reader.feed(data):
            self._take(self._sequence, event)
        return b""

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)

    def _take(self, sequence: Sequence, event: Event) -> None:
        known = isinstance(event, Answered) and 1 <= event.packet_id <= self._ids
        if isinstance(event, Answered) and known:
            sequence.note(event.packet_id - 1)
            known = event.is_accepted
        self.faults.foreign += not known


class StoredCheck:
    """Reads JetStream's acknowledgements: each names the message's number in the stream.

    Numbers go on from run to run; that the first of this run is missing shows in the sum.
    """

    _NUMBER = re.compile(rb'"stream":"\w+",\s*"seq":(\d+)')

    def __init__(self, flow: Flow) -> None:
        self.faults = Faults()
        self._wire = flow.wire
        self._reader = flow.wire.reader()
        self._first = self._next = 0

    @property
    def progress(self) -> int:
        return self._next - self._first

    def feed(self, data: bytes) -> bytes:
        answers = b""
        for event in self._reader.feed(data):
            answers += self._take(event)
        return answers

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)

    def _take(self, event: Event) -> bytes:
        if isinstance(event, Other) and event.answer:
            return event.answer
        found = self._NUMBER.search(event.payload) if isinstance(event, Delivered) else None
        if found is None:  # an error, or nothing that JetStream says of a message
            self.faults.foreign += 1
        else:
            self._note(int(found[1]))
        return b""

    def _note(self, number: int) -> None:
        if not self._next:
            self._first = self._next = number
        if number < self._next:
            self.faults.duplicated += 1
            return
        self.faults.lost += number - self._next
        self._next = number + 1


class StreamCheck:
    """Reads events of SSE or messages of a WebSocket: JSON in which our numbers stand."""

    _NUMBER = re.compile(rb'"seq":(\d{8})\D')
    _LONGEST = 20
    """A number with what is around it; so much of a read is kept for the next."""

    def __init__(self, flow: Flow) -> None:
        self.faults = Faults()
        self._sequence = Sequence(flow.cycle, 0, self.faults)
        self._rest = b""

    @property
    def progress(self) -> int:
        return self._sequence.next

    def feed(self, data: bytes) -> bytes:
        data, end = self._rest + data, 0
        for found in self._NUMBER.finditer(data):
            self._sequence.note(int(found[1]) - FIRST_NUMBER)
            end = found.end()
        self._rest = data[max(end, len(data) - self._LONGEST) :]
        return b""

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)
