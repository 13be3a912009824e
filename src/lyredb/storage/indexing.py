"""Which index keys a stored record has: the indexed values, decoded and encoded.

Only the indexed attributes, and those that a computed one is made of, are decoded; msgspec
skips the rest in C (0.3 µs for one of 30 attributes). Of two versions of a record only
values that differ are encoded. Every table that takes messages has an index of deadlines and
few records have one, so theirs are looked for apart, by a bit of the header.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from lyredb.errors import InvalidRecord
from lyredb.storage.body import decode_extension
from lyredb.storage.clock import wire_version
from lyredb.storage.expression import Expression, parse
from lyredb.storage.keys import ABSENT, encode_index_value, index_entries
from lyredb.storage.layout import IndexLayout, IndexSource, TableLayout
from lyredb.storage.record import (
    HAS_EXPIRES,
    OPAQUE,
    body_offset_of,
    decode_header,
)

_PLAIN: Final = frozenset((str, int, float, bool, type(None), datetime, type(ABSENT)))
"""Types whose equal values have equal index keys."""


class _Source(NamedTuple):
    """Where the value of one index is: in a field of the decoder, or in the header.

    Attributes:
        slot: Of the index.
        source: Of the value.
        field: Of the decoder, ``""`` when the value is not in one.
        path: From there to the value.
        expression: What makes a computed value.
        reads: The attributes that it reads, and their fields.
    """

    slot: int
    source: IndexSource
    field: str = ""
    path: tuple[str, ...] = ()
    expression: Expression | None = None
    reads: tuple[tuple[str, str], ...] = ()


class IndexExtractor:
    """Finds the index keys of records of one table.

    Args:
        layout: The table.
        only: One index instead of all of them, for a build.
    """

    __slots__ = ("_deadlines", "_decoder", "_is_plain", "_reads_body", "_sources")

    def __init__(self, layout: TableLayout, only: IndexLayout | None = None) -> None:
        given = layout.indexes if only is None else (only,)
        indexes = [index for index in given if index.source is not IndexSource.EXPIRES]
        self._deadlines = [index.slot for index in given if index not in indexes]
        names = [_names(index) for index in indexes]
        roots = sorted({name for of_one in names for name in of_one})
        fields = {root: f"field_{number}" for number, root in enumerate(roots)}
        struct = msgspec.defstruct(
            "Indexed",
            [(field, Any, ABSENT) for field in fields.values()],
            rename={field: root for root, field in fields.items()},
            gc=False,
        )
        self._decoder = msgspec.msgpack.Decoder(struct, ext_hook=decode_extension)
        in_body = (IndexSource.BODY, IndexSource.COMPUTED)
        self._reads_body = any(index.source in in_body for index in indexes)
        self._is_plain = all(index.source is IndexSource.BODY for index in indexes)
        self._sources = [_source(index, fields) for index in indexes]

    def entries(self, stored: bytes) -> set[tuple[int, bytes]]:
        """Return the pairs (index slot, encoded value) of a record.

        Raises:
            InvalidRecord: The body is no MessagePack map.
            InvalidKey: A value cannot be indexed.
        """
        return self.changes(None, stored)[1]

    def changes(
        self, old: bytes | None, new: bytes | None
    ) -> tuple[set[tuple[int, bytes]], set[tuple[int, bytes]]]:
        """Return the pairs to take out and the pairs to put in; see `entries`."""
        out: set[tuple[int, bytes]] = set()
        into: set[tuple[int, bytes]] = set()
        if self._deadlines:
            if old is not None and old[19] & HAS_EXPIRES:
                out.update(self._deadline(old))
            if new is not None and new[19] & HAS_EXPIRES:
                into.update(self._deadline(new))
        if self._sources:
            self._compare(old, new, out, into)
        return (out - into, into - out) if out and into else (out, into)

    def _deadline(self, stored: bytes) -> Iterator[tuple[int, bytes]]:
        """The pairs of a record that has a deadline."""
        value = encode_index_value(decode_header(stored).expires_ms)
        return ((slot, value) for slot in self._deadlines)

    def _compare(
        self,
        old: bytes | None,
        new: bytes | None,
        out: set[tuple[int, bytes]],
        into: set[tuple[int, bytes]],
    ) -> None:
        """Add the pairs of values that differ."""
        before = None if old is None else self._values(old)
        after = None if new is None else self._values(new)
        for number, source in enumerate(self._sources):
            if before is not None and after is not None:
                left, right = before[number], after[number]
                if type(left) is type(right) and type(left) in _PLAIN and left == right:
                    continue
            if before is not None:
                out.update((source.slot, value) for value in index_entries(before[number]))
            if after is not None:
                into.update((source.slot, value) for value in index_entries(after[number]))

    def _values(self, stored: bytes) -> list[object]:
        """Return the value of each index."""
        decoded = None
        if self._reads_body and not stored[19] & OPAQUE:
            try:
                decoded = self._decoder.decode(memoryview(stored)[body_offset_of(stored) :])
            except (msgspec.DecodeError, RecursionError, ValueError) as error:
                raise InvalidRecord("the body is no MessagePack map of attributes") from error
        if not self._is_plain:
            return [_value(decoded, source, stored) for source in self._sources]
        if decoded is None:
            return [ABSENT] * len(self._sources)
        return [_at_path(getattr(decoded, source.field), source.path) for source in self._sources]


def _names(index: IndexLayout) -> frozenset[str]:
    """The attributes of the body that an index needs."""
    if index.source is IndexSource.BODY:
        return frozenset(index.path[:1])
    return parse(index.expression).names if index.source is IndexSource.COMPUTED else frozenset()


def _source(index: IndexLayout, fields: Mapping[str, str]) -> _Source:
    if index.source is IndexSource.BODY:
        return _Source(index.slot, index.source, fields[index.path[0]], index.path[1:])
    if index.source is not IndexSource.COMPUTED:
        return _Source(index.slot, index.source)
    expression = parse(index.expression)
    reads = tuple((name, fields[name]) for name in sorted(expression.names))
    return _Source(index.slot, index.source, expression=expression, reads=reads)


def _value(decoded: msgspec.Struct | None, source: _Source, stored: bytes) -> object:
    if source.source is IndexSource.CREATED:
        return wire_version(decode_header(stored).created)
    if source.source is IndexSource.UPDATED:
        return wire_version(decode_header(stored).version)
    if decoded is None:
        return ABSENT
    if source.expression is not None:
        found = ((name, getattr(decoded, field)) for name, field in source.reads)
        # An attribute that is absent reads as null, as one does that is null.
        return source.expression.evaluate(
            {name: value for name, value in found if value is not ABSENT}
        )
    return _at_path(getattr(decoded, source.field), source.path)


def _at_path(value: object, path: tuple[str, ...]) -> object:
    """Return the value at a path, `ABSENT` where it ends early."""
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return ABSENT
        value = value[name]
    return value
