"""Removes the files that nothing needs any more: dropped ones, and orphans.

Dropped: the log's floor has passed the entry by which a record let go of the file. Orphan:
there is no row of it, since its write was rejected or its process killed before the commit.
A young file without a row may still get one, so orphans are removed by age only, but at
once where nobody can be writing one.

A file goes before its rows: who is killed in between removes it again, which does nothing.
Looking and forgetting belong to the thread of the writer, `remove` into another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.blob_rows import DROPPED, DROPPED_ROW_BYTES, FILE, read_dropped

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

ORPHAN_AGE_S: Final = 3600.0
"""How long nothing was written to a file that no commit knows before it is removed. Much
longer than a commit may take, and than `http.timeout` lets an upload stand still."""
STEP_FILES: Final = 100
"""Files that are removed in one go."""


class BlobSweep:
    """The sweep of one engine.

    Args:
        engine: Open for writing.
        files: Of the same directory.
    """

    def __init__(self, engine: Engine, files: BlobFiles) -> None:
        self._engine = engine
        self._files = files

    def due(self) -> list[bytes]:
        """Return the names of the rows of some dropped files that nothing refers to any more."""
        floor = self._engine.floor
        found: list[bytes] = []
        with self._engine.snapshot() as snapshot:
            for name, _ in snapshot.scan_unref(DROPPED):
                if len(name) == DROPPED_ROW_BYTES and read_dropped(name)[0] >= floor:
                    break
                found.append(name)
                if len(found) == STEP_FILES:
                    break
        return found

    def remove(self, names: Iterable[bytes]) -> bool:
        """Remove the files of such rows. For another thread than the writer's.

        Returns:
            False, and nothing is removed, while a backup or check needs the files.

        Raises:
            StorageFailed: One cannot be removed.
        """
        with self._files.held(to_remove=True) as may_remove:
            if may_remove:
                for name in names:
                    self._files.remove(read_dropped(name)[1])
        return may_remove

    def forget(self, names: Sequence[bytes]) -> None:
        """Remove the rows, after the files.

        Raises:
            StorageError: None was removed; the next round does it.
        """
        with self._engine.write(below_minimum=True) as transaction:
            handle = self._engine.handles.unref
            for name in names:
                transaction.delete(name, db=handle)
                transaction.delete(FILE + read_dropped(name)[1], db=handle)

    def old_files(self, before_s: float) -> list[bytes]:
        """Return the ids of the files that were last written before a time. For another thread.

        Args:
            before_s: Since 1970, in seconds.
        """
        return [file.id for file in self._files.list() if file.modified_s < before_s]

    def without_row(self, ids: Iterable[bytes]) -> list[bytes]:
        """Return those of the files that no commit knows."""
        with self._engine.snapshot() as snapshot:
            return [id for id in ids if snapshot.unref_row(FILE + id) is None]

    def remove_orphans(self, ids: Iterable[bytes]) -> int:
        """Remove files and return how many there were. For another thread.

        Raises:
            StorageFailed: One cannot be removed.
        """
        return sum(self._files.remove(id) for id in ids)

    def step(self) -> int:
        """Remove the next dropped files on this thread; return how many. For tests and tools."""
        names = self.due()
        if not names or not self.remove(names):
            return 0
        self.forget(names)
        return len(names)
