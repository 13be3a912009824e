"""From a schema to what the store knows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from lyredb.storage.layout import IndexLayout, IndexSource, IntegerBounds, TableLayout
from lyredb.tables.schema import SYSTEM_DATABASE, Attribute, Role, TableSchema, used_types
from lyredb.tables.values import INTEGER_BOUNDS

_SOURCES: Final[Mapping[Role, IndexSource]] = {
    "plain": IndexSource.BODY,
    "expires": IndexSource.BODY,
    "created": IndexSource.CREATED,
    "updated": IndexSource.UPDATED,
}


class IndexKey(NamedTuple):
    """What makes an index the same index; one that differs in anything is built anew."""

    path: tuple[str, ...]
    source: IndexSource = IndexSource.BODY
    expression: str = ""
    version: str = ""


DEADLINES: Final = IndexKey((), IndexSource.EXPIRES)
"""The index by which removal finds what is gone; no attribute's own, so without a path.

Of every table that takes messages: a retained one may have an expiry of its own.
"""


def key_of_index(index: IndexLayout) -> IndexKey:
    """Return the identity of an index that the store has."""
    return IndexKey(index.path, index.source, index.expression, index.version)


def index_key(attribute: Attribute) -> IndexKey:
    """Return the identity of an attribute's index."""
    computed = attribute.computed
    if computed is None:
        return IndexKey((attribute.name,), _SOURCES[attribute.role])
    version = computed.version or computed.expression
    return IndexKey((attribute.name,), IndexSource.COMPUTED, computed.expression, version)


def wanted_indexes(schema: TableSchema) -> list[IndexKey]:
    """Return the identities of the indexes that the schema asks for, in declared order.

    Last the index of deadlines; records without one are not in it.
    """
    wanted = [index_key(attribute) for attribute in schema.attributes if attribute.indexed]
    return wanted if schema.database == SYSTEM_DATABASE else [*wanted, DEADLINES]


def layout_of(schema: TableSchema, slot: int, index_slots: Mapping[IndexKey, int]) -> TableLayout:
    """Return the layout of a table.

    Args:
        schema: Of the table.
        slot: Of the table.
        index_slots: The slot of each of its `wanted_indexes`. The one of deadlines may be
            missing: tables of earlier versions get it when a server starts.
    """
    in_body = [one for one in schema.attributes if one.is_stored]
    expires = [one.name for one in in_body if one.role == "expires"]
    return TableLayout(
        slot=slot,
        name=schema.full_name,
        key_attribute=schema.primary_key,
        indexes=tuple(
            IndexLayout(index_slots[key], key.path, key.source, key.expression, key.version)
            for key in wanted_indexes(schema)
            if key in index_slots or key != DEADLINES
        ),
        required=frozenset(one.name for one in in_body if one.required),
        sealed=frozenset(one.name for one in in_body) if schema.sealed else None,
        bounds=tuple(
            IntegerBounds(one.name, *INTEGER_BOUNDS[one.type.name])
            for one in in_body
            if one.type.name in INTEGER_BOUNDS
        ),
        expiration_ms=schema.expiration_s * 1000,
        expires_from=expires[0] if expires else "",
        eviction_ms=schema.eviction_s * 1000,
        scan_interval_ms=schema.scan_interval_s * 1000,
        blobs=tuple(_with_blobs(schema, in_body)),
    )


def _with_blobs(schema: TableSchema, attributes: list[Attribute]) -> Iterator[str]:
    """The attributes in whose values, at any depth, something may be declared as a Blob."""
    for attribute in attributes:
        inner = used_types((attribute,), schema.nested)
        types = [attribute.type, *(one.type for nested in inner for one in nested.attributes)]
        if any(type.innermost == "Blob" for type in types):
            yield attribute.name
