"""Walk the MQTT frames in a stream of bytes: the careful, slower reader.

The measured path compares bytes (see ``bench.load.check``); this one is used where
bytes may differ, and to say exactly what differs.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_FRAME_BYTES = 1 << 20
"""Far above anything the load sends: a longer frame means that we lost the thread."""


class BadFrame(Exception):
    """The stream is not what an MQTT server sends."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One packet: the first byte and what follows the length."""

    first: int
    body: bytes

    @property
    def type(self) -> int:
        return self.first >> 4

    @property
    def qos(self) -> int:
        return self.first >> 1 & 3

    @property
    def is_retained(self) -> bool:
        return bool(self.first & 1)


@dataclass(frozen=True, slots=True)
class Published:
    """The parts of a PUBLISH; ``about`` are its properties without their length."""

    topic: str
    packet_id: int
    payload: bytes
    about: bytes = b""


def read_length(data: bytes, start: int) -> tuple[int, int] | None:
    """Read a Variable Byte Integer: (value, where it ends), or None if incomplete."""
    value = 0
    for index in range(4):
        if start + index >= len(data):
            return None
        digit = data[start + index]
        value |= (digit & 0x7F) << 7 * index
        if digit < 0x80:
            return value, start + index + 1
    raise BadFrame("a length of more than four bytes")


class FrameReader:
    """Cuts a stream into frames, whatever the borders of the reads."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return every frame that is complete now.

        Raises:
            BadFrame: A length is malformed or above ``MAX_FRAME_BYTES``.
        """
        data, start = self._pending + data, 0
        frames = []
        while start < len(data) and (found := read_length(data, start + 1)):
            size, body = found
            if size > MAX_FRAME_BYTES:
                raise BadFrame(f"a frame of {size} bytes")
            if body + size > len(data):
                break
            frames.append(Frame(data[start], data[body : body + size]))
            start = body + size
        self._pending = data[start:]
        return frames


def read_publish(frame: Frame, level: int) -> Published:
    """Take a PUBLISH apart; ``level`` 5 has properties.

    Raises:
        BadFrame: It is too short for what it announces.
    """
    body = frame.body
    end = 2 + int.from_bytes(body[:2], "big")
    topic, packet_id, about = body[2:end].decode(), 0, b""
    if frame.qos:
        packet_id, end = int.from_bytes(body[end : end + 2], "big"), end + 2
    if level == 5:
        found = read_length(body, end)
        if found is None:
            raise BadFrame("a PUBLISH without properties")
        about = body[found[1] : sum(found)]
        end = sum(found)
    if end > len(body):
        raise BadFrame("a PUBLISH shorter than its topic")
    return Published(topic, packet_id, body[end:], about)
