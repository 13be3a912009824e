"""The bytes between two workers: frames of a stream, items of a batch. No I/O.

A frame is its length (of what follows), its type and its body:

* ``BATCH``: the sender's log position, then items;
* ``INTEREST``: number, filters that are wanted now, filters that are no more. Number 0
  says that the rest follows, any other is acknowledged;
* ``KNOWN``: the number that is acknowledged;
* ``NOTE``: a kind and bytes, for rooms that have something else to tell another worker.

An item is kind, lane, count, length and that many bytes: frames of a protocol as they
came, one packed message, or what a lane is. The bytes stay within one machine and one
version of the program, so nothing in them is versioned.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

BATCH: Final = 1
INTEREST: Final = 2
KNOWN: Final = 3
NOTE: Final = 4

RAW: Final = 1
MESSAGE: Final = 2
LANE: Final = 3

BATCH_BYTES: Final = 128 * 1024
"""A batch is ended beyond it: what is read at once stays about what a socket holds, and
the receiver looks after its other connections in between."""
MAX_FRAME_BYTES: Final = 1 << 30
"""More is no frame of ours: the stream is damaged."""

_FRAME: Final = struct.Struct(">IB")
_BATCH: Final = struct.Struct(">IBQ")
_KNOWN: Final = struct.Struct(">IBQ")
_AFTER: Final = struct.Struct(">Q")
_ITEM: Final = struct.Struct(">BHII")
_TYPES: Final = (BATCH, INTEREST, KNOWN, NOTE)

Item = tuple[int, int, int, bytes]
"""Kind, lane, count, bytes."""


class Damaged(Exception):
    """What came from a peer is not what a peer sends."""


class PackedMessage(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A direct message on its way; the rest of it follows from its topic."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    content_type: str
    properties: bytes
    session: int
    expires_ms: int
    local_ms: int


class PackedLane(msgspec.Struct, array_like=True, frozen=True):
    """What a lane is; see `lyredb.delivery.peers.relay.Lane`."""

    protocol: str
    raw: str
    content_type: str


class Interest(msgspec.Struct, array_like=True, frozen=True):
    """A change of what a worker wants."""

    number: int
    wanted: list[str]
    unwanted: list[str]


class Note(msgspec.Struct, array_like=True, frozen=True):
    """What is no message: its kind, which a room owns, and its bytes."""

    kind: str
    body: bytes


pack: Final = msgspec.msgpack.Encoder().encode
_message: Final = msgspec.msgpack.Decoder(PackedMessage)
_lane: Final = msgspec.msgpack.Decoder(PackedLane)
_interest: Final = msgspec.msgpack.Decoder(Interest)
_note: Final = msgspec.msgpack.Decoder(Note)


def unpack_message(data: bytes) -> PackedMessage:
    """Read a ``MESSAGE`` item. Raises `Damaged`."""
    try:
        return _message.decode(data)
    except msgspec.MsgspecError as error:
        raise Damaged(f"no packed message: {error}") from error


def unpack_lane(data: bytes) -> PackedLane:
    """Read a ``LANE`` item. Raises `Damaged`."""
    try:
        return _lane.decode(data)
    except msgspec.MsgspecError as error:
        raise Damaged(f"no lane: {error}") from error


def unpack_interest(body: bytes) -> Interest:
    """Read the body of an ``INTEREST``. Raises `Damaged`."""
    try:
        return _interest.decode(body)
    except msgspec.MsgspecError as error:
        raise Damaged(f"no interest: {error}") from error


def interest_frame(interest: Interest) -> bytes:
    """An ``INTEREST``."""
    body = pack(interest)
    return _FRAME.pack(1 + len(body), INTEREST) + body


def note_frame(note: Note) -> bytes:
    """A ``NOTE``."""
    body = pack(note)
    return _FRAME.pack(1 + len(body), NOTE) + body


def unpack_note(body: bytes) -> Note:
    """Read the body of a ``NOTE``. Raises `Damaged`."""
    try:
        return _note.decode(body)
    except msgspec.MsgspecError as error:
        raise Damaged(f"no note: {error}") from error


def known_frame(number: int) -> bytes:
    """A ``KNOWN``."""
    return _KNOWN.pack(9, KNOWN, number)


def unpack_known(body: bytes) -> int:
    """Read the body of a ``KNOWN``. Raises `Damaged`."""
    if len(body) != _AFTER.size:
        raise Damaged(f"an acknowledgement of {len(body)} bytes")
    number: int = _AFTER.unpack(body)[0]
    return number


class BatchWriter:
    """Collects the items of a tick; adjacent runs of one lane become one item.

    Attributes:
        size_bytes: Of what has been added since `take`.
    """

    __slots__ = (
        "_batches",
        "_count",
        "_lane",
        "_parts",
        "_run_at",
        "_run_bytes",
        "_size",
        "size_bytes",
    )

    def __init__(self) -> None:
        self._batches: list[tuple[int, list[bytes]]] = []
        self._parts: list[bytes] = [b""]  # the first place is for the header
        self._size = 0
        self._lane = -1  # of the run that can still grow
        self._run_at = 0
        self._count = 0
        self._run_bytes = 0
        self.size_bytes = 0

    def add_run(self, lane: int, frames: bytes, count: int) -> None:
        """Add frames of a protocol."""
        if lane != self._lane:
            self._end_run()
            self._lane = lane
            self._run_at = len(self._parts)
            self._parts.append(b"")  # the run's header, once its length is known
        self._parts.append(frames)
        self._count += count
        size = len(frames)
        self._run_bytes += size
        self.size_bytes += size
        if self._size + self._run_bytes >= BATCH_BYTES:
            self._end_batch()

    def add(self, kind: int, lane: int, data: bytes) -> None:
        """Add an item that stands alone."""
        self._end_run()
        self._parts.append(_ITEM.pack(kind, lane, 1, len(data)))
        self._parts.append(data)
        size = _ITEM.size + len(data)
        self._size += size
        self.size_bytes += size
        if self._size >= BATCH_BYTES:
            self._end_batch()

    def _end_run(self) -> None:
        if self._lane < 0:
            return
        self._parts[self._run_at] = _ITEM.pack(RAW, self._lane, self._count, self._run_bytes)
        self._size += _ITEM.size + self._run_bytes
        self._lane = -1
        self._count = self._run_bytes = 0

    def _end_batch(self) -> None:
        self._end_run()
        if self._size:
            self._batches.append((self._size, self._parts))
            self._parts = [b""]
            self._size = 0

    def take(self, after: int) -> list[bytes]:
        """Take all out as frames.

        Args:
            after: The log position that the receiver has to tell first.
        """
        self._end_batch()
        batches, self._batches = self._batches, []
        self.size_bytes = 0
        frames: list[bytes] = []
        for size, parts in batches:
            parts[0] = _BATCH.pack(1 + _AFTER.size + size, BATCH, after)
            frames += parts
        return frames


class FrameReader:
    """Cuts a stream into frames, whatever pieces it comes in."""

    __slots__ = ("_needed", "_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = _FRAME.size

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take bytes; yield type and body of each frame that is complete.

        Raises:
            Damaged: They cannot be frames.
        """
        self._pieces.append(data)
        self._size += len(data)
        if self._size < self._needed:
            return
        data = b"".join(self._pieces) if len(self._pieces) > 1 else data
        at, size = 0, len(data)
        needed = _FRAME.size
        while size - at >= _FRAME.size:
            length, kind = _FRAME.unpack_from(data, at)
            if not 0 < length <= MAX_FRAME_BYTES or kind not in _TYPES:
                raise Damaged(f"no frame of type {kind} has {length} bytes")
            end = at + 4 + length
            if end > size:
                needed = 4 + length
                break
            yield kind, data[at + _FRAME.size : end]
            at = end
        self._pieces = [data[at:]] if at < size else []
        self._size = size - at
        self._needed = needed


def items_of(body: bytes) -> tuple[int, Iterator[Item]]:
    """Return the position of a ``BATCH`` and its items.

    Raises:
        Damaged: At once or while iterating: it is no batch.
    """
    if len(body) < _AFTER.size:
        raise Damaged("a batch without a position")
    return _AFTER.unpack_from(body)[0], _items(body, _AFTER.size)


def _items(body: bytes, at: int) -> Iterator[Item]:
    size = len(body)
    while at < size:
        start = at + _ITEM.size
        if start > size:
            raise Damaged("a batch ends inside of an item")
        kind, lane, count, length = _ITEM.unpack_from(body, at)
        at = start + length
        if at > size:
            raise Damaged("an item ends behind its batch")
        yield kind, lane, count, body[start:at]


def interest_frames(
    number: int, wanted: Sequence[str], unwanted: Sequence[str], per_frame: int
) -> list[bytes]:
    """A change of interest as frames of at most so many filters; the last has the number."""
    steps = max(1, -(-max(len(wanted), len(unwanted)) // per_frame))
    frames: list[bytes] = []
    for step in range(steps):
        part = slice(step * per_frame, (step + 1) * per_frame)
        is_last = step == steps - 1
        interest = Interest(number if is_last else 0, list(wanted[part]), list(unwanted[part]))
        frames.append(interest_frame(interest))
    return frames
