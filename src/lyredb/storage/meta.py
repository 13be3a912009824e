"""The rows of the database ``meta``: their names and forms.

=====================  ====================================================
``format``             MessagePack map; see `Format`
``position``           ``>Q`` last seq, ``>Q`` last version, ``>I`` number of
                       the directory that goes with it
``directory``          MessagePack array of `Segment` arrays, oldest first
``table/<slot>``       MessagePack map; a `TableLayout`
``build/<slot>``       of an index that is not complete: its table's slot
                       (``>H``), then the last record key that is in it
``drop/<slot>``        empty; of an index that is removed and not empty yet
``indexing``           progress of the log's index; see `logx`
``lease/<slot>``       the highest integer key of a table that was leased, unsigned
``request/<worker>``   what came of a worker's last requests; see `request_row`
``schema/<name>``      written by SCHEMA mutations; their form is the caller's
=====================  ====================================================

Slots and workers in names are five decimal digits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from lyredb.errors import FormatMismatch
from lyredb.storage.layout import IndexLayout, IndexSource, IntegerBounds, TableLayout

FORMAT_MAJOR: Final = 1
FORMAT_MINOR: Final = 0
BLOBS_FLAG: Final = 1
"""Records have blobs that are more than text or bytes: extension type 2, flag 0x0200."""
KNOWN_INCOMPATIBLE: Final = BLOBS_FLAG
"""Bits of features without which the data cannot be read. A feature sets its own when it is
first used, so a directory without it stays readable by versions that do not know it."""
ENGINE: Final = "lmdb-0.9"

FORMAT: Final = b"format"
POSITION: Final = b"position"
DIRECTORY: Final = b"directory"
INDEXING: Final = b"indexing"
TABLE_PREFIX: Final = b"table/"
BUILD_PREFIX: Final = b"build/"
DROP_PREFIX: Final = b"drop/"
SCHEMA_PREFIX: Final = b"schema/"
LEASE_PREFIX: Final = b"lease/"
REQUEST_PREFIX: Final = b"request/"

_POSITION: Final = struct.Struct(">QQI")


class Format(msgspec.Struct, frozen=True):
    """The row ``format``: what must be understood before anything else is read."""

    major: int
    minor: int
    incompatible: int
    engine: str
    page_size: int
    log_id: bytes


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """One log segment in the directory.

    Attributes:
        number: Counts up for ever; the ring slot is its remainder by the ring's size.
        first_seq: Its first position, also when it has no entry yet.
        first_ms: Time of its beginning, not above that of its first entry.
        last_seq: 0 while it is open.
        last_ms: Time of its last entry, 0 while it is open.
        size_bytes: Pages it takes, 0 while it is open.
        indexed: Its ``logx`` is complete.
    """

    number: int
    first_seq: int
    first_ms: int
    last_seq: int = 0
    last_ms: int = 0
    size_bytes: int = 0
    indexed: bool = False


class _BoundsRow(msgspec.Struct, frozen=True, array_like=True):
    """The numbers as decimal text: MessagePack's own have 64 bits."""

    attribute: str
    least: str
    greatest: str


class _TableRow(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    key: str
    indexes: list[tuple[Any, ...]]
    """Slot, path and source; of a computed one its expression and version besides."""
    required: list[str]
    sealed: list[str] | None
    bounds: list[_BoundsRow] = []
    expiration: int = 0
    expires: str = ""
    eviction: int = 0
    scan: int = 0
    blobs: list[str] = []


_formats: Final = msgspec.msgpack.Decoder(Format)
_directories: Final = msgspec.msgpack.Decoder(list[Segment])
_tables: Final = msgspec.msgpack.Decoder(_TableRow)


def table_row_name(slot: int) -> bytes:
    """Return the name of a table's layout row."""
    return TABLE_PREFIX + b"%05d" % slot


def build_row_name(index_slot: int) -> bytes:
    """Return the name of an incomplete index's progress row."""
    return BUILD_PREFIX + b"%05d" % index_slot


def drop_row_name(index_slot: int) -> bytes:
    """Return the name of the row of a removed index that is not empty yet."""
    return DROP_PREFIX + b"%05d" % index_slot


def slots_in(names: Iterable[bytes], prefix: bytes) -> frozenset[int]:
    """Return the slots in names of rows that begin so."""
    return frozenset(int(name.removeprefix(prefix)) for name in names)


def lease_row_name(slot: int) -> bytes:
    """Return the name of the row for a table's leased integer keys."""
    return LEASE_PREFIX + b"%05d" % slot


def request_row_name(worker: int) -> bytes:
    """Return the name of a worker's request row."""
    return REQUEST_PREFIX + b"%05d" % worker


def encode_lease(highest: int) -> bytes:
    """Return a row ``lease/<slot>``: as many bytes as the integer needs."""
    return highest.to_bytes((highest.bit_length() + 7) // 8 or 1, "big")


def decode_lease(row: bytes) -> int:
    """Return the highest integer that was leased."""
    return int.from_bytes(row, "big")


def with_blobs(form: Format) -> Format:
    """Return a format that says that there may be blobs."""
    return replace(form, incompatible=form.incompatible | BLOBS_FLAG)


def encode_format(form: Format) -> bytes:
    """Return the row ``format``."""
    return msgspec.msgpack.encode(form)


def decode_format(row: bytes, *, page_size: int) -> Format:
    """Return the row ``format`` if this version can read what it announces.

    Raises:
        FormatMismatch: Another major version, engine or page size, or unknown features.
    """
    try:
        form = _formats.decode(row)
    except msgspec.DecodeError as error:
        raise FormatMismatch("the data directory's format row is damaged") from error
    if form.major != FORMAT_MAJOR:
        raise FormatMismatch(
            f"the data directory has format {form.major}.{form.minor}, "
            f"this version reads {FORMAT_MAJOR}"
        )
    if form.incompatible & ~KNOWN_INCOMPATIBLE:
        raise FormatMismatch("the data directory uses features that this version does not know")
    if form.engine != ENGINE or form.page_size != page_size:
        raise FormatMismatch(
            f"the data directory was written by {form.engine} with pages of "
            f"{form.page_size} bytes, here are {ENGINE} and {page_size}"
        )
    return form


def encode_position(seq: int, version: int, directory: int) -> bytes:
    """Return the row ``position``."""
    return _POSITION.pack(seq, version, directory)


def decode_position(row: bytes) -> tuple[int, int, int]:
    """Return last seq, last version and the number of the directory."""
    seq, version, directory = _POSITION.unpack(row)
    return seq, version, directory


def encode_directory(segments: tuple[Segment, ...]) -> bytes:
    """Return the row ``directory``."""
    return msgspec.msgpack.encode(segments)


def decode_directory(row: bytes) -> tuple[Segment, ...]:
    """Return the segments, oldest first; the last one is open."""
    return tuple(_directories.decode(row))


def encode_layout(layout: TableLayout) -> bytes:
    """Return a row ``table/<slot>``."""
    return msgspec.msgpack.encode(
        _TableRow(
            layout.name,
            layout.key_attribute,
            [_index_row(index) for index in layout.indexes],
            sorted(layout.required),
            None if layout.sealed is None else sorted(layout.sealed),
            [_BoundsRow(one.attribute, str(one.least), str(one.greatest)) for one in layout.bounds],
            layout.expiration_ms,
            layout.expires_from,
            layout.eviction_ms,
            layout.scan_interval_ms,
            list(layout.blobs),
        )
    )


def _index_row(index: IndexLayout) -> tuple[Any, ...]:
    row = (index.slot, index.path, index.source)
    if index.source is IndexSource.COMPUTED:
        return (*row, index.expression, index.version)
    return row


def decode_layout(name: bytes, row: bytes) -> TableLayout:
    """Return the layout of a row ``table/<slot>``."""
    table = _tables.decode(row)
    return TableLayout(
        slot=int(name.removeprefix(TABLE_PREFIX)),
        name=table.name,
        key_attribute=table.key,
        indexes=tuple(
            IndexLayout(slot, tuple(path), IndexSource(source), *computed)
            for slot, path, source, *computed in table.indexes
        ),
        required=frozenset(table.required),
        sealed=None if table.sealed is None else frozenset(table.sealed),
        bounds=tuple(
            IntegerBounds(one.attribute, int(one.least), int(one.greatest)) for one in table.bounds
        ),
        expiration_ms=table.expiration,
        expires_from=table.expires,
        eviction_ms=table.eviction,
        scan_interval_ms=table.scan,
        blobs=tuple(table.blobs),
    )
