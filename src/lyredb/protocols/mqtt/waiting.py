"""Batches of frames that wait for their reader, and where each frame of one ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lyredb.plugins.delivery import Batch


class Waiting:
    """A batch of which frames from ``next`` on have not been sent.

    Attributes:
        data: All frames, one after the other.
        ends: The end of each.
        ids: The offset of its packet identifier, 0 for none.
        next: Index of the first that was not sent.
        settled: Told what became of the only frame; None when nobody asks.
    """

    __slots__ = ("data", "ends", "ids", "next", "settled")

    def __init__(self, data: bytes, ends: Sequence[int], ids: Sequence[int]) -> None:
        self.data = data
        self.ends = ends
        self.ids = ids
        self.next = 0
        self.settled: Callable[[bool], None] | None = None

    def give_up(self) -> None:
        """What is left will not be sent."""
        settled, self.settled = self.settled, None
        if settled is not None:
            settled(False)


def waiting(batch: Batch) -> Waiting:
    """A batch with the border of every frame."""
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


def without_large(batch: Batch, largest: int) -> Batch:
    """Leave out frames above a size [MQTT-3.1.2-24]: all others of a batch."""
    whole = waiting(batch)
    start, length = 0, 0
    pieces: list[bytes] = []
    ends: list[int] = []
    ids: list[int] = []
    for end, offset in zip(whole.ends, whole.ids, strict=True):
        if end - start <= largest:
            pieces.append(whole.data[start:end])
            ids.append(offset - start + length if offset else 0)
            length += end - start
            ends.append(length)
        start = end
    if batch.droppable:
        return Batch(b"".join(pieces), len(ends))
    return Batch(b"".join(pieces), len(ends), ends, ids)
