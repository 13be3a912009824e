"""Reading a table as it was at a position, page by page, each page in a fresh snapshot.

Records and graves are paged through together in key order. What was last touched after
the position is taken from the log: the chain of ``prev_seq`` leads back to the entry
that made the record what it was, or to a before-image that was inlined because that
entry may be trimmed.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from lyredb.errors import PositionLost
from lyredb.storage.record import is_expired, last_seq_of
from lyredb.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

DEFAULT_PAGE_BYTES: Final = 256 * 1024
DEFAULT_PAGE_MS: Final = 5.0


class Page(NamedTuple):
    """Key and record of some keys in order; ``done`` when there are no more."""

    records: list[tuple[bytes, bytes]]
    done: bool


class AsOfScan:
    """A scan over the keys ``start <= key < stop`` of a table as of a position.

    Args:
        engine: What to read.
        slot: The table.
        position: Must stay within the log until the scan is done.
        start: First key.
        stop: First key that is out, ``None`` for the end of the table.
        after: Go on behind this key.
    """

    def __init__(
        self,
        engine: Engine,
        slot: int,
        position: int,
        *,
        start: bytes = b"",
        stop: bytes | None = None,
        after: bytes | None = None,
    ) -> None:
        self._engine = engine
        self._slot = slot
        self._position = position
        self._start = start
        self._stop = stop
        self._after = after

    def page(self, max_bytes: int = DEFAULT_PAGE_BYTES, max_ms: float = DEFAULT_PAGE_MS) -> Page:
        """Return the next records; records whose deadline has passed by now are left out.

        Args:
            max_bytes: The page ends when its records have so many bytes.
            max_ms: The page ends after this time; it may then be empty and not done.

        Raises:
            PositionLost: The log has moved past the position.
        """
        deadline = time.monotonic() + max_ms / 1000
        records: list[tuple[bytes, bytes]] = []
        with self._engine.snapshot() as snapshot:
            if not snapshot.floor - 1 <= self._position <= snapshot.position:
                raise PositionLost("the log does not hold this position any more")
            for key, stored, is_record in self._keys(snapshot):
                image = self._image(snapshot, stored, is_record=is_record)
                self._after = key
                if image is not None and not is_expired(image, snapshot.now_ms):
                    records.append((key, image))
                    max_bytes -= len(image)
                if max_bytes <= 0 or time.monotonic() > deadline:
                    return Page(records, done=False)
        return Page(records, done=True)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all that is left, in pages; no snapshot is open while it is suspended."""
        done = False
        while not done:
            records, done = self.page()
            yield from records

    def _keys(self, snapshot: Snapshot) -> Iterator[tuple[bytes, bytes, bool]]:
        bounds = (self._slot, self._start, self._stop)
        records = snapshot.scan_stored(*bounds, after=self._after)
        graves = snapshot.scan_graves(*bounds, after=self._after)
        return heapq.merge(
            ((key, stored, True) for key, stored in records),
            ((key, stored, False) for key, stored in graves),
            key=lambda found: found[0],
        )

    def _image(self, snapshot: Snapshot, stored: bytes, *, is_record: bool) -> bytes | None:
        record = stored if is_record else None
        seq = last_seq_of(stored)
        return record if seq <= self._position else image_at(snapshot, record, seq, self._position)


def record_at(snapshot: Snapshot, slot: int, key: bytes, position: int) -> bytes | None:
    """Return a record as of a position that the log still holds, expired or not.

    Raises:
        PositionLost: As `image_at`.
    """
    record = snapshot.stored(slot, key)
    stored = record or snapshot.grave(slot, key)
    if stored is None:
        return None
    seq = last_seq_of(stored)
    return record if seq <= position else image_at(snapshot, record, seq, position)


def scan_at(
    snapshot: Snapshot,
    slot: int,
    position: int,
    start: bytes,
    stop: bytes | None,
    *,
    after: bytes | None = None,
    reverse: bool = False,
) -> Iterator[tuple[bytes, bytes]]:
    """Yield a table's records in a range of keys as of a position that the log still holds.

    Expired ones are among them.

    Raises:
        PositionLost: As `image_at`.
    """
    bounds = (slot, start, stop)
    records = snapshot.scan_stored(*bounds, after=after, reverse=reverse)
    graves = snapshot.scan_graves(*bounds, after=after, reverse=reverse)
    limit = position.to_bytes(8, "big")
    # Graves older than the position say that there was nothing: only the others count.
    fresh = ((key, grave, False) for key, grave in graves if grave[8:16] > limit)
    merged = heapq.merge(
        ((key, stored, True) for key, stored in records),
        fresh,
        key=lambda found: found[0],
        reverse=reverse,
    )
    for key, stored, is_record in merged:
        if is_record and stored[8:16] <= limit:
            yield key, stored
            continue
        record = stored if is_record else None
        image = image_at(snapshot, record, last_seq_of(stored), position)
        if image is not None:
            yield key, image


def image_at(
    snapshot: Snapshot, record: bytes | None, last_seq: int, position: int
) -> bytes | None:
    """Return a key's record as of a position that the log still holds.

    The image's own last_seq may differ from the key's last entry at the position, when
    messages came after the write.

    Args:
        snapshot: What to read.
        record: The key's record in the snapshot, ``None`` when it has none.
        last_seq: The key's last entry in the snapshot.
        position: Not below the floor's predecessor.

    Raises:
        PositionLost: The entry that made the record is trimmed, and the one after it
            carries no before-image. Happens only for the oldest half of the log.
    """
    state, is_known, seq = record, True, last_seq
    while seq > position:
        entry = snapshot.entry(seq)
        assert entry is not None, "positions above the floor are in the log"
        if entry.changes_record:
            state = entry.before or None
            is_known = state is not None or not entry.existed
        seq = entry.prev_seq
    if is_known:
        return state
    while seq:
        entry = snapshot.entry(seq)
        if entry is None:
            raise PositionLost("the log does not hold this record's past any more")
        if entry.changes_record:
            return entry.image or None
        seq = entry.prev_seq
    return None
