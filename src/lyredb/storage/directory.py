"""The log's directory: which segment holds which positions and times. Pure functions.

Segments are numbered for ever and live in a ring of `RING_SEGMENTS` databases; segment
n is in ring slot n modulo the ring's size. The last segment is the open one.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, TypeAlias

from msgspec.structs import replace

from lyredb.storage.meta import Segment

Directory: TypeAlias = tuple[Segment, ...]

RING_SEGMENTS: Final = 64


def ring_slot(segment: Segment) -> int:
    """Return the number in the names of the segment's databases."""
    return segment.number % RING_SEGMENTS


def floor_of(directory: Directory) -> int:
    """Return the first position that the log still holds, or will hold."""
    return directory[0].first_seq


def segment_of(directory: Directory, seq: int) -> Segment | None:
    """Return the segment that position `seq` belongs to, ``None`` below the floor."""
    found = bisect_right(directory, seq, key=lambda segment: segment.first_seq)
    return directory[found - 1] if found else None


def half_of(directory: Directory) -> int:
    """Return where the newest half of the ring begins.

    An entry whose predecessor is older carries its before-image, because the
    predecessor may be trimmed before the image is needed.
    """
    return directory[len(directory) // 2].first_seq


def rotated(
    directory: Directory, *, position: int, last_ms: int, now_ms: int, size_bytes: int
) -> Directory:
    """Return the directory with the open segment sealed and a new one after it.

    When the ring is full, the oldest segment is gone from it: the new one takes its
    place, so its databases must be emptied in the same commit.
    """
    sealed = replace(directory[-1], last_seq=position, last_ms=last_ms, size_bytes=size_bytes)
    opened = Segment(sealed.number + 1, position + 1, max(now_ms, last_ms))
    return (*directory[:-1], sealed, opened)[-RING_SEGMENTS:]


def with_indexed(directory: Directory, number: int) -> Directory:
    """Return the directory with a segment's ``logx`` marked as complete."""
    return tuple(
        replace(segment, indexed=True) if segment.number == number else segment
        for segment in directory
    )


def droppable(
    directory: Directory, *, now_ms: int, age_ms: int, max_bytes: int, open_bytes: int
) -> int:
    """Return how many of the oldest segments are too old or too much.

    The open segment never is. Age counts from a segment's last entry.
    """
    total = open_bytes + sum(segment.size_bytes for segment in directory)
    count = 0
    for segment in directory[:-1]:
        if segment.last_ms >= now_ms - age_ms and total <= max_bytes:
            break
        total -= segment.size_bytes
        count += 1
    return count
