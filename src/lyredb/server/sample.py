"""A record that one of the application's tables takes: for commands that work as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lyredb.tables.schema import Attribute, Export, Schema, TableSchema, TypeRef

_VALUES: Final[Mapping[str, object]] = {
    "String": "hello",
    "ID": "a1",
    "Int": 1,
    "Long": 1,
    "BigInt": 1,
    "Float": 21.5,
    "Boolean": True,
    "Date": "2026-01-31T12:00:00Z",
    "Bytes": "aGVsbG8=",
    "Blob": "hello",
    "Any": 21.5,
}
_FAR: Final[Mapping[str, object]] = {
    "Date": "2100-01-01T00:00:00Z",
    "Float": 4_102_444_800_000.0,
    "Long": 4_102_444_800_000,
}
"""Deadlines that nobody who tries the command will live to see."""
_NUMBERS: Final = ("Float", "Int", "Long", "Any")
"""What a reader likes to see change; preferred where nothing is required."""
_MAX_LEVELS: Final = 8
"""A type that requires itself has no record at all; something has to end the search."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A record to write.

    Attributes:
        export: Where its table is, and by which protocols.
        key: As in a path.
        record: Without its key, in types of JSON.
    """

    export: Export
    key: str
    record: Mapping[str, object]


def sample_of(schema: Schema, *, open_topics: bool) -> Sample | None:
    """Return a record of the table that the most protocols see, the first of several.

    Args:
        schema: Of the application.
        open_topics: Whether topics outside of every table are records.

    Returns:
        ``None`` when nothing can be written from outside.
    """
    best: tuple[TableSchema, Export] | None = None
    for table in schema.tables:
        export = table.export
        if export is not None and (best is None or _protocols(export) > _protocols(best[1])):
            best = table, export
    if best is not None:
        return _sample(*best)
    return Sample(Export("hello"), "world", {"value": 21.5}) if open_topics else None


def _protocols(export: Export) -> int:
    return sum((export.rest, export.mqtt, export.sse))


def _sample(table: TableSchema, export: Export) -> Sample:
    stored = [one for one in table.attributes if one.is_stored]
    plain = [one for one in stored if one.role == "plain"]
    numbers = [one for one in plain if one.type.name in _NUMBERS]
    wanted = [one for one in stored if one.required] or numbers[:1] or plain[:1]
    record = _record(wanted, table, 1)
    record |= {one.name: _FAR[one.type.name] for one in wanted if one.role == "expires"}
    if not plain and not table.sealed:
        record = {"value": 21.5}
    is_number = table.key_type in ("Int", "Long", "BigInt")
    return Sample(export, "1" if is_number else "example", record)


def _record(attributes: list[Attribute], table: TableSchema, level: int) -> dict[str, object]:
    return {one.name: _value(one.type, table, level) for one in attributes}


def _value(kind: TypeRef, table: TableSchema, level: int) -> object:
    if kind.element is not None:
        return [_value(kind.element, table, level)]
    if kind.name in _VALUES:
        return _VALUES[kind.name]
    if level >= _MAX_LEVELS:
        return {}
    required = [one for one in table.nested_type(kind.name).attributes if one.required]
    return _record(required, table, level + 1)
