"""The ring of log segments: sealing the open one, dropping the oldest, purging graves.

Nobody holds the log back: a reader that falls below the floor is told, and gets the
current state. A segment is emptied, never deleted; its databases are used again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from lyredb.storage import directory as directories
from lyredb.storage.clock import version_ms
from lyredb.storage.directory import Directory
from lyredb.storage.entry import version_of
from lyredb.storage.environment import log_name, logx_name
from lyredb.storage.record import last_seq_of
from lyredb.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

STEP_MS: Final = 10.0
"""How long one step of a purge may hold the writer."""
_PURGE_ROWS: Final = 1000


def is_rotation_due(engine: Engine, open_bytes: int, now_ms: int) -> bool:
    """Tell whether the open segment has its size, or is as old as a segment may be."""
    segment = engine.directory[-1]
    if engine.position < segment.first_seq:
        return False
    old = now_ms - segment.first_ms >= engine.settings.segment_s * 1000
    return old or open_bytes >= engine.settings.segment_limit_bytes


def rotate(engine: Engine, open_bytes: int, now_ms: int) -> None:
    """Seal the open segment and open the next; a full ring loses its oldest.

    Raises:
        DiskFull: Nothing has changed.
        StorageFailed: The engine is read-only now.
    """
    new = directories.rotated(
        engine.directory,
        position=engine.position,
        last_ms=version_ms(engine.clock.last),
        now_ms=now_ms,
        size_bytes=open_bytes,
    )
    slot = directories.ring_slot(new[-1])
    engine.open_databases(log_name(slot), logx_name(slot))
    _replace_directory(engine, new, empty_slots=(slot,))


def drop_oldest(engine: Engine, open_bytes: int, now_ms: int) -> int:
    """Drop the oldest segment if it is too old or the log too large; return 0 or 1.

    One at a time: emptying a full segment takes 1 to 13 ms.

    Raises:
        DiskFull: Nothing has changed.
        StorageFailed: The engine is read-only now.
    """
    count = directories.droppable(
        engine.directory,
        now_ms=now_ms,
        age_ms=int(engine.settings.retention_age_s * 1000),
        max_bytes=engine.settings.log_limit_bytes,
        open_bytes=open_bytes,
    )
    if not count:
        return 0
    slot = directories.ring_slot(engine.directory[0])
    _replace_directory(engine, engine.directory[1:], empty_slots=(slot,))
    return 1


def _replace_directory(engine: Engine, new: Directory, *, empty_slots: tuple[int, ...]) -> None:
    with engine.write() as transaction:
        for slot in empty_slots:
            transaction.drop(engine.handles.log[slot], delete=False)
            transaction.drop(engine.handles.logx[slot], delete=False)
        number = engine.put_directory(transaction, new)
    engine.adopt(new, number)


class GravePurge:
    """Deletes graves whose last entry is below the floor, in bounded steps.

    A pass goes through all tables, then waits until the floor has moved. Where it
    stands is not stored: after a restart it begins again, which only costs reading.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._purged_to = 0
        self._pass_floor = 0
        self._slots: list[int] = []
        self._after = b""

    @property
    def is_due(self) -> bool:
        """There is something left to look at."""
        return bool(self._slots) or self._purged_to < self._engine.floor

    def step(self) -> int:
        """Look at the next graves and return how many were deleted.

        Raises:
            DiskFull: None was deleted; the step may be made again.
            StorageFailed: The engine is read-only now.
        """
        if not self._slots:
            self._slots = sorted(self._engine.layouts, reverse=True)
            self._pass_floor, self._after = self._engine.floor, b""
        while self._slots:
            slot = self._slots[-1]
            if slot in self._engine.layouts:
                doomed, last = self._next_graves(slot)
                if doomed:
                    self._delete(slot, doomed)
                self._after = last
                if last:
                    return len(doomed)
            self._slots.pop()
            self._after = b""
        self._purged_to = self._pass_floor
        return 0

    def _next_graves(self, slot: int) -> tuple[list[bytes], bytes]:
        """Return the keys to delete and the last key seen, empty at the table's end."""
        deadline = time.monotonic() + STEP_MS / 1000
        doomed: list[bytes] = []
        with self._engine.snapshot() as snapshot:
            graves = snapshot.scan_graves(slot, after=self._after or None)
            for count, (key, grave) in enumerate(graves, 1):
                if last_seq_of(grave) < self._pass_floor:
                    doomed.append(key)
                if count == _PURGE_ROWS or time.monotonic() > deadline:
                    return doomed, key
        return doomed, b""

    def _delete(self, slot: int, keys: list[bytes]) -> None:
        with self._engine.write() as transaction:
            for key in keys:
                transaction.delete(key, db=self._engine.handles.graves[slot])


def position_at(snapshot: Snapshot, ms: int) -> int:
    """Return the position after which everything happened at or after a time.

    Times are those of the versions, which never go back. A time below the floor gives
    the floor's predecessor, a time in the future the last position.
    """
    low, high = snapshot.floor, snapshot.position + 1
    while low < high:
        middle = (low + high) // 2
        stored = snapshot.raw_entry(middle)
        assert stored is not None, "the log has no gaps"
        if version_ms(version_of(stored)) < ms:
            low = middle + 1
        else:
            high = middle
    return low - 1
