"""The files of blobs: ``<data>/blobs/xx/yyyy…``, one per blob, written once.

A name is the blob's random id in hexadecimal, its first two digits being the directory, so
that none grows too large. A file is complete, and with its directory on disk, before the
commit that refers to it; one that no commit refers to is removed by `blob_sweep`. It is
never changed, so who has it open reads it to its end, whatever becomes of the record.

Everything here waits for the disk: it belongs into threads.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from lyredb.errors import DiskFull, StorageFailed
from lyredb.storage.blob import ID_BYTES
from lyredb.storage.data_directory import NO_SPACE, free_bytes, sync_directory

DIRECTORY: Final = "blobs"
_SHARD_DIGITS: Final = 2
_NAME_DIGITS: Final = 2 * ID_BYTES - _SHARD_DIGITS


class BlobFile(NamedTuple):
    """One file, as it was found."""

    id: bytes
    size: int
    modified_s: float


class BlobFiles:
    """The files of one data directory.

    Args:
        data_dir: Whose.
        min_free_bytes: Files are not written below so much free space.
        free_bytes_of: Tells the free space on the disk of a path.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        min_free_bytes: int = 0,
        free_bytes_of: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._root = data_dir / DIRECTORY
        self._min_free_bytes = min_free_bytes
        self._free_bytes_of = free_bytes_of

    def path_of(self, id: bytes) -> Path:
        """Return where a blob's file is."""
        name = id.hex()
        return self._root / name[:_SHARD_DIGITS] / name[_SHARD_DIGITS:]

    def create(self) -> NewFile:
        """Make a file with a new id.

        Raises:
            DiskFull, StorageFailed: There is none.
        """
        self.require_space()
        return NewFile(self, os.urandom(ID_BYTES))

    def require_space(self) -> None:
        """Refuse to fill the disk up: the store needs the rest.

        Raises:
            DiskFull: There is less free space than there has to be.
        """
        place = self._root if self._root.exists() else self._root.parent
        if self._free_bytes_of(place) < self._min_free_bytes:
            raise DiskFull(
                "the disk has less free space than storage.minFree; the blob was not written"
            )

    def open(self, id: bytes) -> tuple[int, int]:
        """Open a file for reading; return its descriptor, which is the caller's, and its size.

        Raises:
            StorageFailed: It is not there, or cannot be read.
        """
        try:
            descriptor = os.open(self.path_of(id), os.O_RDONLY | os.O_CLOEXEC)
            return descriptor, os.fstat(descriptor).st_size
        except OSError as error:
            raise StorageFailed(f"the file of a blob cannot be read: {error.strerror}") from error

    def remove(self, id: bytes) -> bool:
        """Remove a file; tell whether there was one.

        Raises:
            StorageFailed: It is there and cannot be removed.
        """
        try:
            self.path_of(id).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageFailed(
                f"the file of a blob cannot be removed: {error.strerror}"
            ) from error
        return True

    @contextmanager
    def held(self, *, to_remove: bool = False) -> Iterator[bool]:
        """Keep files from being removed by other processes, or remove some oneself.

        Any number may hold; nobody removes meanwhile. The lock is that of the directory, so
        it ends with its process.

        Args:
            to_remove: Be the only one.

        Yields:
            False when ``to_remove`` cannot be: somebody holds them.
        """
        descriptor = _open_directory(self._root)
        try:
            yield descriptor < 0 or _lock(descriptor, exclusive=to_remove)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def size_of(self, id: bytes) -> int:
        """Return the size of a file in bytes, -1 when there is none."""
        try:
            return self.path_of(id).stat().st_size
        except FileNotFoundError:
            return -1

    def list(self) -> Iterator[BlobFile]:
        """Yield all files, in no order; what comes or goes meanwhile may be missing."""
        for shard in _entries(self._root):
            for entry in _entries(Path(shard.path)):
                id = _id_of(shard.name + entry.name)
                if id is None:
                    continue
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    continue
                yield BlobFile(id, found.st_size, found.st_mtime)


class NewFile:
    """A file in the making; `keep` or `abandon` ends it.

    Attributes:
        id: Of the blob.
        size: What was written, in bytes.
    """

    def __init__(self, files: BlobFiles, id: bytes) -> None:
        self._files = files
        self._path = files.path_of(id)
        self.id = id
        self.size = 0
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise _failed(error) from error

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append.

        Raises:
            DiskFull, StorageFailed: The file is useless now: abandon it.
        """
        self._files.require_space()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise _failed(error) from error
        self.size += len(data)

    def keep(self) -> None:
        """Have the file and its name on disk.

        Raises:
            DiskFull, StorageFailed: It may not be there: abandon it.
        """
        try:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            shard = self._path.parent
            # The last two are new with the first blob, or with the first of their name.
            for directory in (shard, shard.parent, shard.parent.parent):
                sync_directory(directory)
        except OSError as error:
            raise _failed(error) from error

    def abandon(self) -> None:
        """Remove it; the sweep does where that fails."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._path.unlink(missing_ok=True)


def _open_directory(path: Path) -> int:
    """Return a descriptor, -1 when there is no such directory."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1


def _lock(descriptor: int, *, exclusive: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except BlockingIOError:
        return False
    return True


def _failed(error: OSError) -> DiskFull | StorageFailed:
    if error.errno in NO_SPACE:
        return DiskFull("there is no space on the disk for the blob; it was not written")
    return StorageFailed(f"the file of a blob cannot be written: {error.strerror}")


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _id_of(name: str) -> bytes | None:
    """The id that a shard and a file name make, ``None`` for what is not ours."""
    if len(name) != _SHARD_DIGITS + _NAME_DIGITS:
        return None
    try:
        return bytes.fromhex(name)
    except ValueError:
        return None
