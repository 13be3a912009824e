"""A blob as code has it: `create_blob` makes one, a column of type `Blob` gives one.

It is content with a type, not yet read: in memory, in a file, or still to come from an
iterator. Files are read in threads, a part at a time.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from lyredb.formats import decode_text
from lyredb.storage.blob import PackedBlob, is_type
from lyredb.tables.blob_values import BYTES, TEXT, content_in, reference_in

PART_BYTES: Final = 256 * 1024
"""Of what `Blob.stream` yields, at most."""

ReadFile: TypeAlias = Callable[[PackedBlob], AsyncIterator[bytes]]
"""Streams the file of a blob."""
Source: TypeAlias = "bytes | Path | AsyncIterable[bytes] | PackedBlob"
Content: TypeAlias = bytes
"""Inside the class `bytes` is a method."""


class Blob:
    """Content of any size; see the module.

    Attributes:
        type: Its content type.
        size: In bytes, ``None`` while nobody knows: of an iterator.
    """

    __slots__ = ("_is_used", "_read_file", "_source", "size", "type")

    def __init__(
        self,
        source: Source,
        type: str,
        size: int | None,
        read_file: ReadFile | None = None,
    ) -> None:
        self._source = source
        self._read_file = read_file
        self._is_used = False
        self.type = type
        self.size = size

    def __repr__(self) -> str:
        size = "?" if self.size is None else self.size
        return f"<blob {self.type}, {size} bytes>"

    @property
    def reference(self) -> PackedBlob | None:
        """The file of a record that it is, ``None`` for everything else."""
        return self._source if isinstance(self._source, PackedBlob) else None

    @property
    def in_memory(self) -> Content | None:
        """Its content where it is in memory already."""
        return self._source if isinstance(self._source, bytes) else None

    async def bytes(self) -> bytes:
        """Return the whole content.

        Raises:
            StorageFailed: Its file cannot be read.
            RuntimeError: It comes from an iterator that was used up.
        """
        if isinstance(self._source, bytes):
            return self._source
        return b"".join([part async for part in self.stream()])

    async def text(self) -> str:
        """Return the content as text, by the charset of its type; UTF-8 when it has none.

        Raises:
            InvalidBody: It is not in that charset.
            StorageFailed, RuntimeError: As `bytes`.
        """
        return decode_text(await self.bytes(), self.type)

    async def stream(self) -> AsyncIterator[Content]:
        """Yield the content in parts, in bounded memory.

        Who has begun to read the file of a record reads it to its end, though the record be
        overwritten or deleted meanwhile.

        Raises:
            StorageFailed, RuntimeError: As `bytes`.
        """
        source = self._source
        if isinstance(source, bytes):
            for at in range(0, len(source), PART_BYTES):
                yield source[at : at + PART_BYTES]
            return
        async for part in self._parts(source):
            yield part

    def _parts(self, source: Path | AsyncIterable[Content] | PackedBlob) -> AsyncIterable[Content]:
        if isinstance(source, Path):
            return _file_parts(source)
        if isinstance(source, PackedBlob):
            assert self._read_file is not None, "the file belongs to a database"
            return self._read_file(source)
        if self._is_used:
            raise RuntimeError("the iterator of this blob was read already")
        self._is_used = True
        return source


def create_blob(
    data: bytes | bytearray | memoryview | str | os.PathLike[str] | AsyncIterable[bytes],
    type: str = "",
) -> Blob:
    """Make a blob to be put into a record.

    ::

        await Photo.put(Photo(id="7", picture=create_blob(Path("7.png"))))

    Nothing is written before the record is: then the content is read, a part at a time, and
    is on disk when ``put`` returns.

    Args:
        data: Bytes, text (as UTF-8), the path of a file (a `Path`: a plain string is
            text), or an async iterator of bytes, which is read once.
        type: Its content type. By default ``text/plain; charset=utf-8`` for text, what the
            name says for a path, else ``application/octet-stream``.

    Raises:
        TypeError: It is none of these.
        ValueError: The type cannot stand in a header.
    """
    if type and not is_type(type):
        raise ValueError(f"a content type is printable ASCII, got {type[:60]!r}")
    if isinstance(data, str):
        encoded = data.encode()
        return Blob(encoded, type or TEXT, len(encoded))
    if isinstance(data, (bytes, bytearray, memoryview)):
        return Blob(bytes(data), type or BYTES, len(data))
    if isinstance(data, os.PathLike):
        guessed = mimetypes.guess_type(os.fspath(data))[0]
        return Blob(Path(data), type or guessed or BYTES, None)
    if isinstance(data, AsyncIterable):
        return Blob(data, type or BYTES, None)
    raise TypeError(
        "a blob is made of bytes, a string, a Path or an async iterator of bytes, not of "
        f"{data.__class__.__name__}"
    )


def blob_of(value: object, read_file: ReadFile) -> object:
    """Return the blob that an attribute of a record is; null and what is none as it is."""
    if isinstance(value, Mapping):
        reference = reference_in(value)
        if reference is not None:
            return Blob(reference, reference.content_type, reference.size, read_file)
    content = content_in(value)
    return value if content is None else Blob(content[1], content[0], len(content[1]))


async def _file_parts(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while part := await asyncio.to_thread(file.read, PART_BYTES):
            yield part
    finally:
        file.close()
