"""Files as streams of bytes, whether they are compressed or come through a pipe."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

import brotli
import zstandard

from lyredb.errors import InvalidInput
from lyredb.operations.transfer.spec import STDIN, FileFormat

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

COMPRESSIONS: Final = (".gz", ".zst", ".br")
_FORMATS: Final[dict[str, FileFormat]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".parquet": "parquet",
}
DAMAGES: Final = (OSError, EOFError, zlib.error, zstandard.ZstdError, brotli.error)
"""What reading a file raises when it cannot be read further."""
_READ_BYTES: Final = 1 << 18


def format_of(path: str) -> FileFormat | None:
    """Return the format that a file's name tells, ``None`` when it tells none."""
    return _FORMATS.get(Path(without_compression(path)).suffix.lower())


def compression_of(path: str) -> str:
    """Return the ending that tells a compression, or ``""``."""
    ending = Path(path).suffix.lower()
    return ending if ending in COMPRESSIONS else ""


def without_compression(path: str) -> str:
    """Return a file's name as it would be without its compression."""
    return path[: -len(ending)] if (ending := compression_of(path)) else path


def size_of(path: str) -> int:
    """Return the bytes of a file that can be read, 0 of standard input.

    Raises:
        InvalidInput: It cannot.
    """
    if path == STDIN:
        return 0
    try:
        with Path(path).open("rb") as file:
            return os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


class Source:
    """An open file.

    Attributes:
        stream: Its bytes, decompressed.
        can_seek: Offsets in ``stream`` are offsets in the file.
    """

    def __init__(self, raw: IO[bytes], stream: IO[bytes], *, can_seek: bool) -> None:
        self._raw = raw
        self.stream = stream
        self.can_seek = can_seek

    @property
    def done_bytes(self) -> int:
        """How much of the file itself has been read; 0 of a pipe."""
        try:
            return self._raw.tell()
        except OSError:
            return 0


@contextmanager
def open_source(path: str, descriptor: int | None = None) -> Iterator[Source]:
    """Open a file for reading, or standard input.

    Args:
        path: The file, or ``-``.
        descriptor: What standard input is, if not that of this process.

    Raises:
        InvalidInput: It cannot be read.
    """
    if path == STDIN:
        with open(0 if descriptor is None else descriptor, "rb", closefd=False) as stream:
            yield Source(stream, stream, can_seek=False)
        return
    try:
        raw = Path(path).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
    with raw:
        yield Source(raw, _decompressed(path, raw), can_seek=not compression_of(path))


def _decompressed(path: str, raw: IO[bytes]) -> IO[bytes]:
    match compression_of(path):
        case ".gz":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        case ".zst":
            reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
            return io.BufferedReader(cast("io.RawIOBase", reader), _READ_BYTES)
        case ".br":
            return io.BufferedReader(_BrotliReader(raw), _READ_BYTES)
    return raw


class _BrotliReader(io.RawIOBase):
    """A Brotli file as it is without compression; the package reads whole texts only."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._decompressor = brotli.Decompressor()
        self._waiting = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        while not self._waiting:
            data = self._raw.read(_READ_BYTES)
            if not data:
                if not self._decompressor.is_finished():
                    raise EOFError("the file ends within its compressed data")
                return 0
            self._waiting = memoryview(self._decompressor.process(data))
        count = min(len(target), len(self._waiting))
        target[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count


class Sink:
    """A file that is written. It appears under its name when it is whole.

    Attributes:
        written: Bytes before compression.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.written = 0

    def write(self, data: bytes) -> None:
        """Write."""
        self._stream.write(data)
        self.written += len(data)


@contextmanager
def open_sink(path: str) -> Iterator[Sink]:
    """Open a file for writing, or standard output; compressed as its name says.

    After an error nothing stands under the name that did not stand there before.

    Raises:
        InvalidInput: It cannot be written.
    """
    if path == STDIN:
        yield Sink(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    target = Path(path)
    partial = target.with_name(f".{target.name}.part")
    try:
        with partial.open("wb") as raw:
            stream = _compressed(path, raw)
            yield Sink(stream)
            if stream is not raw:
                stream.close()
        partial.replace(target)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _compressed(path: str, raw: IO[bytes]) -> IO[bytes]:
    match compression_of(path):
        case ".gz":
            return cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=6))
        case ".zst":
            writer = zstandard.ZstdCompressor().stream_writer(raw, closefd=False)
            return cast("IO[bytes]", writer)
        case ".br":
            return cast("IO[bytes]", _BrotliWriter(raw))
    return raw


class _BrotliWriter:
    """Writes a Brotli file piece by piece."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._compressor = brotli.Compressor(quality=5)

    def write(self, data: bytes) -> int:
        self._raw.write(self._compressor.process(data))
        return len(data)

    def close(self) -> None:
        self._raw.write(self._compressor.finish())
