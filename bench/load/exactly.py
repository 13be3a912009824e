"""QoS 2 as the load speaks it, on both sides: every step of every handshake is compared.

Each read is cut into stretches of equal packets, which are compared and answered at once.
What is no packet of the handshake in its short form ends the run: nothing that this load
sends has any other answer.
"""

from __future__ import annotations

import re

from bench.load import packets
from bench.load.check import Compared, Sequence
from bench.load.faults import Faults
from bench.load.flow import Flow, place_of
from bench.load.frames import BadFrame, read_length
from bench.load.wire import Delivered

ANSWER_BYTES = 4


class _Ids:
    """Follows packet identifiers that have to come in the order of our own."""

    def __init__(self, first: int, flow: Flow, faults: Faults) -> None:
        cycle = b"".join(_answer(first, place + 1) for place in range(flow.ids))
        self._expected = Compared(cycle, flow.ids)
        self._ids = flow.ids
        self._faults = faults
        self._sequence: Sequence | None = None

    @property
    def progress(self) -> int:
        return self._sequence.next if self._sequence else self._expected.frames

    def take(self, answers: bytes) -> None:
        if self._sequence is None:
            if self._expected.skip(answers):
                return
            self._sequence = Sequence(self._ids, self._expected.frames, self._faults)
        for at in range(0, len(answers), ANSWER_BYTES):
            self._sequence.note(int.from_bytes(answers[at + 2 : at + 4], "big") - 1)


class ReleaseCheck:
    """Reads what a publisher gets at QoS 2, and releases what was received."""

    _STRETCH = re.compile(rb"(?:\x50\x02..)+|(?:\x70\x02..)+", re.DOTALL)

    def __init__(self, flow: Flow) -> None:
        self.faults = Faults()
        self._received = _Ids(packets.PUBREC, flow, self.faults)
        self._completed = _Ids(packets.PUBCOMP, flow, self.faults)
        self._rest = b""

    @property
    def progress(self) -> int:
        return self._completed.progress

    def feed(self, data: bytes) -> bytes:
        answers = b""
        stretches, self._rest = _cut(self._STRETCH, self._rest + data, ANSWER_BYTES)
        for stretch in stretches:
            if stretch[0] == packets.PUBREC:
                self._received.take(stretch)
                answers += _turned(stretch, packets.PUBREL)
            else:
                self._completed.take(stretch)
        return answers

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)


class ExactlyOnceCheck:
    """Reads what a subscriber gets at QoS 2, and takes its part of the handshake.

    A message has arrived when it was released: only then may an application have it once.
    """

    def __init__(self, flow: Flow) -> None:
        self.faults = Faults()
        self._flow = flow
        cycle = flow.delivered(2, flow.everything())
        self._expected = Compared(cycle, flow.cycle)
        self._id_at = flow.id_at()
        self._size = self._expected.frame_bytes
        self._stretch = _published_or_released(cycle[: self._size])
        self._sequence: Sequence | None = None
        self._open = b""  # identifiers that were received and not released
        self._rest = b""

    @property
    def progress(self) -> int:
        published = self._sequence.next if self._sequence else self._expected.frames
        return published - len(self._open) // 2

    def feed(self, data: bytes) -> bytes:
        answers = b""
        stretches, self._rest = _cut(self._stretch, self._rest + data, self._size)
        for stretch in stretches:
            is_release = stretch[0] == packets.PUBREL
            answers += self._complete(stretch) if is_release else self._receive(stretch)
        return answers

    def finish(self, sent: int) -> None:
        self.faults.lost += max(0, sent - self.progress)

    def _receive(self, frames: bytes) -> bytes:
        size, at = self._size, self._id_at
        masked = bytearray(frames)
        ids = bytearray(2 * (len(frames) // size))
        ids[::2], ids[1::2] = frames[at::size], frames[at + 1 :: size]
        masked[at::size] = masked[at + 1 :: size] = bytes(len(ids) // 2)
        self._open += bytes(ids)
        if self._sequence is None and not self._expected.skip(bytes(masked)):
            self._sequence = Sequence(self._flow.cycle, self._expected.frames, self.faults)
        if self._sequence is not None:
            self._walk(self._sequence, frames)
        answers = bytearray(bytes((packets.PUBREC, 2, 0, 0)) * (len(ids) // 2))
        answers[2::4], answers[3::4] = ids[::2], ids[1::2]
        return bytes(answers)

    def _walk(self, sequence: Sequence, frames: bytes) -> None:
        for event in self._flow.wire.reader().feed(frames):
            if isinstance(event, Delivered) and self._flow.is_ours(event.topic, event.payload):
                sequence.note(place_of(event.payload))
            else:
                self.faults.foreign += 1

    def _complete(self, releases: bytes) -> bytes:
        ids = bytearray(len(releases) // 2)
        ids[::2], ids[1::2] = releases[2::4], releases[3::4]
        if not self._open.startswith(bytes(ids)):
            self.faults.disordered += len(ids) // 2  # PUBRELs follow PUBRECs (§4.6)
        self._open = self._open[len(ids) :]
        return _turned(releases, packets.PUBCOMP)


def _published_or_released(frame: bytes) -> re.Pattern[bytes]:
    """Match a stretch of frames like this one, or of PUBRELs."""
    found = read_length(frame, 1)
    assert found is not None
    size, start = found
    one = b"%b.{%d}" % (re.escape(frame[:start]), size)
    return re.compile(rb"(?:%b)+|(?:\x62\x02..)+" % one, re.DOTALL)


def _answer(first: int, packet_id: int) -> bytes:
    return bytes((first, 2)) + packet_id.to_bytes(2, "big")


def _turned(answers: bytes, first: int) -> bytes:
    """Return these with another first byte: the answers to them."""
    turned = bytearray(answers)
    turned[::ANSWER_BYTES] = bytes((first,)) * (len(answers) // ANSWER_BYTES)
    return bytes(turned)


def _cut(stretch: re.Pattern[bytes], data: bytes, longest: int) -> tuple[list[bytes], bytes]:
    """Return stretches of equal packets, and what of a packet has come after them.

    Raises:
        BadFrame: What follows is longer than any packet that may come.
    """
    found, end = list[bytes](), 0
    while match := stretch.match(data, end):
        found.append(match[0])
        end = match.end()
    if len(data) - end >= longest:
        raise BadFrame(f"no packet of a QoS 2 handshake: {data[end : end + 40].hex()}")
    return found, data[end:]
