"""Did every message arrive, once, in order? Checked in the measured run itself.

The fast way compares what a socket gave with the bytes that must come next: one
``memcmp`` proves content, order and completeness of thousands of frames. Bytes that
differ are read frame by frame, which counts what was lost, repeated or out of order,
and accepts what a server may legally write differently (MQTT 5 properties, reasons).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol

from bench.load import packets
from bench.load.flow import Flow, place_of
from bench.load.frames import Frame, FrameReader, read_publish

REFUSED = 0x80
"""MQTT 5 reason codes from here on are errors (§2.4)."""


@dataclass(slots=True)
class Faults:
    """What went wrong, in messages.

    Attributes:
        lost: Never came.
        duplicated: Came again.
        disordered: Came after a later one.
        foreign: Is no message of ours, stands on the wrong topic, or was refused.
    """

    lost: int = 0
    duplicated: int = 0
    disordered: int = 0
    foreign: int = 0

    def add(self, other: Faults) -> None:
        """Add the counts of ``other``."""
        self.lost += other.lost
        self.duplicated += other.duplicated
        self.disordered += other.disordered
        self.foreign += other.foreign

    @property
    def total(self) -> int:
        return self.lost + self.duplicated + self.disordered + self.foreign

    def __str__(self) -> str:
        return ", ".join(f"{count} {name}" for name, count in asdict(self).items() if count)


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
        if ahead < self._cycle // 2:
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


class _Compared:
    """A stream of equal frames that repeats; ``skip`` moves on if bytes are as expected."""

    def __init__(self, cycle: bytes, messages: int) -> None:
        self.frame_bytes = len(cycle) // messages
        self._bytes = len(cycle)
        self._twice = cycle * 2  # so that a read may span the end of the cycle
        self._at = 0
        self._total = 0

    def skip(self, data: bytes) -> bool:
        size = len(data)
        if size > self._bytes or not self._twice.startswith(data, self._at):
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
    """Reads what a subscriber gets; QoS 1 is acknowledged, one write per read."""

    def __init__(self, flow: Flow, qos: int) -> None:
        self.faults = Faults()
        self._flow = flow
        self._expected = _Compared(flow.delivered(qos), flow.cycle)
        self._qos = min(qos, flow.qos)
        # The packet identifier follows the topic, and is the server's to choose.
        head = packets.publish(flow.topic(0), b"x" * flow.payload_bytes, level=flow.level, qos=1)
        tail = len(packets.properties(flow.level)) + flow.payload_bytes
        self._id_at = len(head) - tail - 2
        self._rest = b""
        self._sequence: Sequence | None = None
        self._reader = FrameReader()

    @property
    def progress(self) -> int:
        return self._sequence.next if self._sequence else self._expected.frames

    def feed(self, data: bytes) -> bytes:
        if self._sequence is not None:
            return self._walk(self._sequence, data)
        if self._qos == 0:
            return b"" if self._expected.skip(data) else self._doubt(data)
        data = self._rest + data
        return self._acknowledge(data)

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)

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
        self._sequence = Sequence(self._flow.cycle, self._expected.frames, self.faults)
        return self._walk(self._sequence, begun + data)

    def _walk(self, sequence: Sequence, data: bytes) -> bytes:
        answers = bytearray()
        for frame in self._reader.feed(data):
            answers += self._take(sequence, frame)
        return bytes(answers)

    def _take(self, sequence: Sequence, frame: Frame) -> bytes:
        if frame.type != packets.PUBLISH:
            self.faults.foreign += 1
            return b""
        message = read_publish(frame, self._flow.level)
        place = place_of(message.payload)
        if not 0 <= place < self._flow.cycle or self._flow.topic(place) != message.topic:
            self.faults.foreign += 1
        else:
            sequence.note(place)
        return packets.puback(message.packet_id) if frame.qos else b""


class AckCheck:
    """Reads the PUBACKs that a publisher gets; they come in order (MQTT 5 §4.6)."""

    def __init__(self, flow: Flow) -> None:
        self.faults = Faults()
        self._flow = flow
        self._expected = _Compared(flow.acknowledged(), flow.cycle)
        self._sequence: Sequence | None = None
        self._reader = FrameReader()

    @property
    def progress(self) -> int:
        return self._sequence.next if self._sequence else self._expected.frames

    def feed(self, data: bytes) -> bytes:
        if self._sequence is None:
            if self._expected.skip(data):
                return b""
            self._sequence = Sequence(self._flow.cycle, self._expected.frames, self.faults)
            data = self._expected.begun() + data
        for frame in self._reader.feed(data):
            self._take(self._sequence, frame)
        return b""

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)

    def _take(self, sequence: Sequence, frame: Frame) -> None:
        refused = len(frame.body) > 2 and frame.body[2] >= REFUSED
        place = int.from_bytes(frame.body[:2], "big") - 1
        if frame.type != packets.PUBACK or refused or not 0 <= place < self._flow.cycle:
            self.faults.foreign += 1
        if frame.type == packets.PUBACK and 0 <= place < self._flow.cycle:
            sequence.note(place)
