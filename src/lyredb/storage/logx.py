"""The index of the log: which entries belong to a table, and which to a key.

For the open segment, and for a sealed one whose index is not written yet, memory
serves (`SegmentIndex`, 16 bytes an entry). For the others the database ``logx.<slot>``
does. Its rows hold ascending offsets from the segment's first position (``>I`` each) in
chunks of at most 4 kB:

* ``S``, table slot ``>H``, first offset of the chunk ``>I``: all entries of a table;
* ``K``, hash of table slot and key (8 bytes), first offset ``>I``: entries of a key, and
  of keys with the same hash, so the reader compares the key of the entry.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from lyredb.storage import directory as directories
from lyredb.storage.entry import address_of
from lyredb.storage.meta import Segment
from lyredb.storage.overlay import Address
from lyredb.storage.snapshot import Snapshot

CHUNK_OFFSETS: Final = 1000
BUCKETS: Final = 256
"""Keys are gathered by the first byte of their hash, so that sealing can sort in steps."""
_SLOT_ROW: Final = struct.Struct(">cHI")
_KEY_ROW: Final = struct.Struct(">c8sI")
_HASH: Final = struct.Struct(">Q")
_OFFSET: Final = struct.Struct(">I")
_READ: Final = 2000
_PIECE: Final = 4096
"""Hashes that are searched at once, 1 µs to copy."""
WHOLE: Final = 0, 2**32 - 1
"""Bounds that hold every offset."""
_NO_OFFSETS: Final = array("I")
_MAX_KNOWN: Final = 16_384
"""Keys whose hashes are remembered, in 4 MB at most: topics are written again and again."""


def address_hash(slot: int, key: bytes) -> bytes:
    """Return the 8-byte hash by which the index knows a key."""
    return hashlib.blake2b(slot.to_bytes(2, "big") + key, digest_size=8).digest()


class SegmentIndex:
    """The index of one segment in memory.

    Attributes:
        segment_number: Whose index it is.
        first_seq: The segment's first position.
        next_seq: The first position that is not in it yet.
    """

    __slots__ = (
        "_hashes",
        "_known",
        "_offsets",
        "_slots",
        "first_seq",
        "next_seq",
        "segment_number",
    )

    def __init__(self, segment: Segment) -> None:
        self.segment_number = segment.number
        self.first_seq = self.next_seq = segment.first_seq
        self._slots: dict[int, array[int]] = {}
        self._hashes: list[array[int]] = [array("Q") for _ in range(BUCKETS)]
        self._offsets: list[array[int]] = [array("I") for _ in range(BUCKETS)]
        self._known: dict[Address, int] = {}

    def add(self, addresses: Iterable[Address]) -> None:
        """Take the entries at the next positions."""
        # As `address_hash`, written out: this runs once for each write.
        blake2b, hashes, offsets = hashlib.blake2b, self._hashes, self._offsets
        last_slot, prefix, of_slot = -1, b"", _NO_OFFSETS
        known = self._known
        if len(known) > _MAX_KNOWN:
            known.clear()
        offset = self.next_seq - self.first_seq
        before: Address | None = None
        of_hash, of_offset, number = _NO_OFFSETS, _NO_OFFSETS, 0
        for address in addresses:
            if address is before:  # of a run of messages of one topic
                of_slot.append(offset)
                of_hash.append(number)
                of_offset.append(offset)
                offset += 1
                continue
            before = address
            slot, key = address
            if slot != last_slot:
                last_slot, prefix = slot, slot.to_bytes(2, "big")
                of_slot = self._slots.setdefault(slot, array("I"))
            number = known.get(address, -1)
            if number < 0:
                digest = blake2b(prefix + key, digest_size=8).digest()
                number = known[address] = int.from_bytes(digest, "big")
            bucket = number >> 56
            of_hash, of_offset = hashes[bucket], offsets[bucket]
            of_slot.append(offset)
            of_hash.append(number)
            of_offset.append(offset)
            offset += 1
        self.next_seq = self.first_seq + offset

    def catch_up(self, snapshot: Snapshot, upto: int) -> bool:
        """Read at most 2,000 entries up to a position; tell whether it is reached."""
        if self.next_seq <= upto:
            rows = snapshot.raw_entries(
                self.next_seq - 1, limit=min(_READ, upto + 1 - self.next_seq)
            )
            self.add(address_of(stored) for _, stored in rows)
        return self.next_seq > upto

    def of_slot(self, slot: int) -> Sequence[int]:
        """Return the offsets of a table's entries, ascending."""
        return self._slots.get(slot, ())

    def of_key(
        self, slot: int, key: bytes, bounds: tuple[int, int] = WHOLE, *, reverse: bool = False
    ) -> Iterator[int]:
        """Yield the offsets of the entries with the key's hash, ascending or backwards.

        Cost: what is taken, and what lies between of other keys. As a search in bytes, a tenth
        of the time that comparing numbers takes: a bucket of a full segment has some 6,000 of
        other keys, and one topic that is written all the time has all of its own.

        Args:
            slot: The table.
            key: Of the record.
            bounds: The first and the last offset that is wanted.
            reverse: From the last to the first.
        """
        digest = address_hash(slot, key)
        wanted = _HASH.unpack(digest)[0].to_bytes(8, sys.byteorder)
        hashes, offsets = self._hashes[digest[0]], self._offsets[digest[0]]
        low, high = bisect_left(offsets, bounds[0]), bisect_right(offsets, bounds[1])
        starts = range(low, high, _PIECE)
        for start in reversed(starts) if reverse else starts:
            piece = hashes[start : min(start + _PIECE, high)].tobytes()
            for at in (_places_backwards if reverse else _places)(piece, wanted):
                yield offsets[start + at]

    def slot_rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows ``S`` in key order."""
        for slot in sorted(self._slots):
            for chunk in _chunks(self._slots[slot]):
                yield _SLOT_ROW.pack(b"S", slot, chunk[0]), _packed(chunk)

    def key_rows(self, bucket: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows ``K`` of the hashes with one first byte, in key order."""
        pairs = sorted(zip(self._hashes[bucket], self._offsets[bucket], strict=True))
        begin = 0
        for end in range(1, len(pairs) + 1):
            if end < len(pairs) and pairs[end][0] == pairs[begin][0]:
                continue
            digest = _HASH.pack(pairs[begin][0])
            for chunk in _chunks(array("I", [offset for _, offset in pairs[begin:end]])):
                yield _KEY_ROW.pack(b"K", digest, chunk[0]), _packed(chunk)
            begin = end


def stored_offsets(
    snapshot: Snapshot,
    segment: Segment,
    slot: int,
    key: bytes | None,
    bounds: tuple[int, int] = WHOLE,
    *,
    reverse: bool = False,
) -> Iterator[int]:
    """Yield the offsets that a segment's ``logx`` has for a table or a key.

    Args:
        snapshot: Where to read.
        segment: Its index is complete.
        slot: The table.
        key: Of one record, ``None`` for all.
        bounds: The first and the last offset that is wanted.
        reverse: From the last to the first; else ascending.
    """
    whole = _SLOT_ROW.pack(b"S", slot, 0)[:-4]
    prefix = whole if key is None else b"K" + address_hash(slot, key)
    ring = directories.ring_slot(segment)
    first, last = (prefix + _OFFSET.pack(bound) for bound in bounds)
    # The chunk that has the first bound begins at it or before: the last such one.
    begun = next(snapshot.scan_logx(ring, prefix, first + b"\x00", reverse=True), None)
    start = prefix if begun is None else begun[0]
    for _, row in snapshot.scan_logx(ring, start, last + b"\x00", reverse=reverse):
        yield from offsets_between(_unpacked(row), bounds, reverse=reverse)


def _places(hashes: bytes, wanted: bytes) -> Iterator[int]:
    """Yield where a hash stands among others, counted in hashes."""
    at = hashes.find(wanted)
    while at >= 0:
        if not at % 8:  # else it is made of two neighbours
            yield at // 8
        at = hashes.find(wanted, at + 1)


def _places_backwards(hashes: bytes, wanted: bytes) -> Iterator[int]:
    at = hashes.rfind(wanted)
    while at >= 0:
        if not at % 8:
            yield at // 8
        at = hashes.rfind(wanted, 0, at + 7)  # where one begins before this


def offsets_between(
    offsets: Sequence[int], bounds: tuple[int, int], *, reverse: bool
) -> Iterator[int]:
    """Yield those of ascending offsets that lie in the bounds, both included."""
    low, high = bisect_left(offsets, bounds[0]), bisect_right(offsets, bounds[1])
    for index in range(high - 1, low - 1, -1) if reverse else range(low, high):
        yield offsets[index]


def _chunks(offsets: array[int]) -> Iterator[array[int]]:
    for begin in range(0, len(offsets), CHUNK_OFFSETS):
        yield offsets[begin : begin + CHUNK_OFFSETS]


def _packed(offsets: array[int]) -> bytes:
    """Return the offsets big-endian."""
    if sys.byteorder == "little":
        offsets = offsets[:]
        offsets.byteswap()
    return offsets.tobytes()


def _unpacked(row: bytes) -> array[int]:
    offsets = array("I", row)
    if sys.byteorder == "little":
        offsets.byteswap()
    return offsets
