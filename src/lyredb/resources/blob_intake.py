"""Writes with large blobs: their content is in files before the write goes on its way.

Writes of one record go on in their order: one that comes while another waits for its files
waits behind it. Writes of other records pass.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from lyredb.errors import LyreError, Overloaded, StorageFailed
from lyredb.resources.blobs import BlobStore
from lyredb.resources.mutations import structured
from lyredb.resources.requests import Write
from lyredb.storage.blob import PackedBlob
from lyredb.tables.blob import Blob
from lyredb.tables.blob_values import content_in

MAX_WAITING: Final = 1000
"""Writes that may wait for files in one process; their contents are in memory."""

Go = Callable[[Write, Exception | None], None]
"""Gets the write with its files, or why there are none."""


class BlobIntake:
    """The intake of one database.

    Args:
        store: Where files go.
    """

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._queues: dict[tuple[int, bytes], deque[tuple[Write, Go]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0

    def must_wait(self, write: Write) -> bool:
        """Tell whether a write has content for files, or is behind one that has."""
        key = write.target.key
        return bool(key and (write.target.table.slot, key) in self._queues) or self._has_files(
            write
        )

    def take(self, write: Write, go: Go) -> None:
        """Let a write wait; ``go`` is called later, in the order of the record's writes.

        Raises:
            Overloaded: Too many wait.
        """
        if self._waiting >= MAX_WAITING:
            raise Overloaded("too many writes wait for the files of their blobs; try again")
        self._waiting += 1
        address = (write.target.table.slot, write.target.key or b"")
        queue = self._queues.get(address) if address[1] else None
        if queue is not None:
            queue.append((write, go))
            return
        queue = deque([(write, go)])
        if address[1]:
            self._queues[address] = queue
        task = asyncio.get_running_loop().create_task(self._work(address, queue))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, address: tuple[int, bytes], queue: deque[tuple[Write, Go]]) -> None:
        try:
            while queue:
                write, go = queue[0]
                failure: Exception | None = None
                try:
                    write = await self.save(write)
                except Exception as error:
                    failure = error
                queue.popleft()
                self._waiting -= 1
                go(write, failure)
        finally:
            if self._queues.get(address) is queue:
                del self._queues[address]

    async def save(self, write: Write) -> Write:
        """Return a write whose blobs are what a record holds, with their files on disk.

        Raises:
            RecordTooLarge, DiskFull, StorageFailed: Nothing is left of it.
        """
        if not self._has_files(write):
            return write
        assert isinstance(write.value, Mapping), "else there are none"
        value = dict(write.value)
        made: list[bytes] = []
        try:
            for name in write.target.table.blob_names:
                if name in value:
                    value[name] = saved = await self._saved(value[name])
                    if isinstance(saved, PackedBlob) and saved.id and not _is_file(write, name):
                        made.append(saved.id)
        except BaseException:
            self._store.discard(made)
            raise
        return replace(write, value=value, blobs=(*write.blobs, *made))

    def discard(self, ids: tuple[bytes, ...], error: Exception | None = None) -> None:
        """Remove the files of a write that was refused.

        After `StorageFailed` the record may be on disk: then the sweep decides, which knows.
        """
        if ids and not isinstance(error, StorageFailed):
            self._store.discard(ids)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _has_files(self, write: Write) -> bool:
        names = write.target.table.blob_names
        value = write.value
        if not names or not isinstance(value, Mapping):
            return False
        return any(self._is_content(value[name]) for name in names if name in value)

    def _is_content(self, value: object) -> bool:
        """Tell whether a value is content that is not in the form of a record yet."""
        if isinstance(value, Blob):
            return True
        most = self.store_inline
        match value:
            case str():
                return len(value) > most or (4 * len(value) > most and _size(value) > most)
            case bytes() | bytearray() | memoryview():
                return len(value) > most
            case {"data": str() | bytes() as data}:
                return len(data) > most
        return False

    @property
    def store_inline(self) -> int:
        """Bytes up to which a blob stands in its record."""
        return self._store.inline_bytes

    async def _saved(self, value: object) -> object:
        if isinstance(value, Blob):
            if value.reference is not None:
                return value.reference
            if value.in_memory is not None:
                return await self._store.save_bytes(value.in_memory, value.type)
            return await self._store.save(value.stream(), value.type)
        if not self._is_content(value):
            return value
        content = content_in(value)
        if content is None:
            return value  # validation says what is wrong with it
        return await self._store.save_bytes(content[1], content[0])


def with_value(write: Write) -> Write:
    """Return a write whose payload was read, where it is a record of a table with blobs.

    Raises:
        InvalidBody, NestingTooDeep: It is not what it has to be.
    """
    if write.operation == "delete" or write.value is not None or not write.payload:
        return write
    value = structured(write)
    return write if value is None else replace(write, value=value, payload=b"")


def _is_file(write: Write, name: str) -> bool:
    """Tell whether an attribute was the file of a record, or of this write, before."""
    assert isinstance(write.value, Mapping), "it has the attribute"
    value = write.value[name]
    if isinstance(value, Blob):
        return value.reference is not None
    return isinstance(value, PackedBlob)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def failure_of(error: Exception) -> LyreError:
    """Return what is told of content that could not be read or written."""
    if isinstance(error, LyreError):
        return error
    failure = StorageFailed(f"the content of a blob could not be read: {error}")
    failure.__cause__ = error
    return failure
