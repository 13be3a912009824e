"""The description of a table that ``GET /Table`` answers with."""

from __future__ import annotations

from lyredb.tables.stored import StoredTable


def describe(
    table: StoredTable, record_count: int, names: frozenset[str] | None = None
) -> dict[str, object]:
    """Return the table's names and attributes; ``records`` is a relative reference.

    Args:
        table: What is described.
        record_count: How many records are stored.
        names: The attributes that may be told of, ``None`` for all.
    """
    schema = table.schema
    return {
        "records": "./",
        "name": schema.name,
        "database": schema.database,
        "primaryKey": schema.primary_key,
        "sealed": schema.sealed,
        "recordCount": record_count,
        "attributes": [
            attribute.describe()
            for attribute in schema.attributes
            if names is None or attribute.name in names
        ],
    }
