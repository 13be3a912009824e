"""From a schema to what the store knows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lyredb.storage.layout import IndexLayout, IndexSource, IntegerBounds, TableLayout
from lyredb.tables.schema import Attribute, Role, TableSchema
from lyredb.tables.values import INTEGER_BOUNDS

_SOURCES: Final[Mapping[Role, IndexSource]] = {
    "plain": IndexSource.BODY,
    "created": IndexSource.CREATED,
    "updated": IndexSource.UPDATED,
}

IndexKey = tuple[tuple[str, ...], IndexSource]
"""What makes an index the same index: its path and where the value comes from."""


def index_key(attribute: Attribute) -> IndexKey:
    """Return the identity of an attribute's index."""
    return (attribute.name,), _SOURCES[attribute.role]


def wanted_indexes(schema: TableSchema) -> list[IndexKey]:
    """Return the identities of the indexes that the schema asks for, in declared order."""
    return [index_key(attribute) for attribute in schema.attributes if attribute.indexed]


def layout_of(schema: TableSchema, slot: int, index_slots: Mapping[IndexKey, int]) -> TableLayout:
    """Return the layout of a table.

    Args:
        schema: Of the table.
        slot: Of the table.
        index_slots: The slot of each of its `wanted_indexes`.
    """
    plain = [attribute for attribute in schema.attributes if attribute.role == "plain"]
    return TableLayout(
        slot=slot,
        name=schema.full_name,
        key_attribute=schema.primary_key,
        indexes=tuple(
            IndexLayout(index_slots[key], path=key[0], source=key[1])
            for key in wanted_indexes(schema)
        ),
        required=frozenset(one.name for one in plain if one.required),
        sealed=frozenset(one.name for one in plain) if schema.sealed else None,
        bounds=tuple(
            IntegerBounds(one.name, *INTEGER_BOUNDS[one.type.name])
            for one in plain
            if one.type.name in INTEGER_BOUNDS
        ),
    )
