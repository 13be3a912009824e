"""Blobs between the loop and the disk: written and read in threads, in bounded memory."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from lyredb.errors import LyreError, RecordTooLarge, StorageFailed
from lyredb.storage.blob import PackedBlob
from lyredb.storage.blob_files import BlobFiles, NewFile
from lyredb.storage.settings import StorageSettings
from lyredb.tables.blob import PART_BYTES
from lyredb.tables.blob_values import inline_value

THREADS: Final = 4
"""As many disk operations at a time: more only wait for each other."""
_T = TypeVar("_T")
_logger: Final = logging.getLogger(__name__)


class BlobStore:
    """The files of a database, for code on its loop.

    Args:
        data_dir: Of the database.
        settings: From which size on there are files, and how large they may be.

    Attributes:
        inline_bytes: Blobs up to here stand in their records.
        max_bytes: Larger ones are refused.
    """

    def __init__(self, data_dir: Path, settings: StorageSettings) -> None:
        self._files = BlobFiles(data_dir, min_free_bytes=settings.min_free_bytes)
        self._threads: ThreadPoolExecutor | None = None
        self._is_closed = False
        self.inline_bytes = settings.blob_inline_bytes
        self.max_bytes = settings.max_blob_bytes

    async def save(
        self, parts: AsyncIterable[bytes], content_type: str
    ) -> str | bytes | PackedBlob:
        """Return the value that content becomes in a record, its file being on disk.

        Small content has no file. Whoever commits no record with it calls `discard`.

        Args:
            parts: The content.
            content_type: As a record keeps it.

        Raises:
            RecordTooLarge: More than ``max_bytes``; nothing is left of it.
            DiskFull, StorageFailed: It could not be written; likewise.
            Exception: What ``parts`` raise; likewise.
        """
        waiting = bytearray()
        new: NewFile | None = None
        size = 0
        try:
            async for part in parts:
                size += len(part)
                self._check_size(size)
                waiting += part
                if new is None and size > self.inline_bytes:
                    new = await self._run(self._files.create)
                if new is not None and len(waiting) >= PART_BYTES:
                    full, waiting = waiting, bytearray()
                    await self._run(partial(new.write, full))
            if new is None:
                return inline_value(content_type, bytes(waiting))
            await self._run(partial(_finish, new, waiting))
        except BaseException:
            if new is not None:
                self._later(new.abandon)
            raise
        return PackedBlob(content_type, id=new.id, size=size)

    async def save_bytes(self, content: bytes, content_type: str) -> str | bytes | PackedBlob:
        """As `save`, of content that is in memory."""
        self._check_size(len(content))
        if len(content) <= self.inline_bytes:
            return inline_value(content_type, content)
        return await self._run(lambda: _write_whole(self._files, content, content_type))

    async def open(self, blob: PackedBlob) -> OpenBlob:
        """Open a blob's file; who has it open reads it to its end, whatever becomes of it.

        Raises:
            StorageFailed: It cannot be read, or is not what the record says.
        """
        descriptor, size = await self._run(lambda: self._files.open(blob.id))
        if size != blob.size:
            os.close(descriptor)
            raise StorageFailed("the file of a blob has another size than its record says")
        return OpenBlob(self._run, descriptor, size)

    async def stream(self, blob: PackedBlob) -> AsyncIterator[bytes]:
        """Yield the content of a blob's file.

        Raises:
            StorageFailed: As `open`.
        """
        opened = await self.open(blob)
        try:
            at = 0
            while at < opened.size:
                part = await opened.read(at, PART_BYTES)
                at += len(part)
                yield part
        finally:
            opened.close()

    def discard(self, ids: Iterable[bytes]) -> None:
        """Have files removed that no record refers to; what stays is swept later."""
        for id in ids:
            self._later(partial(self._files.remove, id))

    def close(self) -> None:
        """End the threads once they have done what they were asked. For ever."""
        self._is_closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=True)

    def _check_size(self, size: int) -> None:
        if size > self.max_bytes:
            raise RecordTooLarge(f"a blob may have {self.max_bytes} bytes, this one has more")

    def _pool(self) -> ThreadPoolExecutor:
        if self._is_closed:
            raise StorageFailed("the database is closed")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lyredb-blob")
        return self._threads

    async def _run(self, act: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._pool(), act)

    def _later(self, act: Callable[[], object]) -> None:
        """Act without anybody waiting; the sweep does again what fails."""
        if not self._is_closed:
            self._pool().submit(_quietly, act)


class OpenBlob:
    """The open file of a blob.

    Attributes:
        size: In bytes.
    """

    def __init__(
        self, run: Callable[[Callable[[], bytes]], Awaitable[bytes]], descriptor: int, size: int
    ) -> None:
        self._run = run
        self._descriptor = descriptor
        self.size = size

    async def read(self, at: int, count: int) -> bytes:
        """Return up to so many bytes from an offset on; at least one.

        Raises:
            StorageFailed: They cannot be read, or the file ends before them.
        """
        descriptor = self._descriptor
        return await self._run(lambda: _read(descriptor, count, at))

    def close(self) -> None:
        """Close it. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _finish(new: NewFile, rest: bytearray) -> None:
    if rest:
        new.write(rest)
    new.keep()


def _write_whole(files: BlobFiles, content: bytes, content_type: str) -> PackedBlob:
    new = files.create()
    try:
        new.write(content)
        new.keep()
    except LyreError:
        new.abandon()
        raise
    return PackedBlob(content_type, id=new.id, size=new.size)


def _read(descriptor: int, count: int, at: int) -> bytes:
    try:
        part = os.pread(descriptor, count, at)
    except OSError as error:
        raise StorageFailed(f"the file of a blob cannot be read: {error.strerror}") from error
    if not part:
        raise StorageFailed("the file of a blob ends before its end")
    return part


def _quietly(act: Callable[[], object]) -> None:
    try:
        act()
    except (LyreError, OSError) as error:
        _logger.warning("the file of a blob that nobody needs stays for the sweep: %s", error)
