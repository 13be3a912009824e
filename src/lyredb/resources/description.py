"""The description of a table that ``GET /Table`` answers with."""

from __future__ import annotations

from lyredb.tables.stored import StoredTable


def describe(
    table: StoredTable,
    record_count: int | None = None,
    with_deadlines: int = 0,
    names: frozenset[str] | None = None,
) -> dict[str, object]:
    """Return the table's names and attributes; ``records`` is a relative reference.

    Args:
        table: What is described.
        record_count: How many records are stored, to be told with the range in which the
            number of those lies that can be read: some may have expired and not be
            removed yet. ``None``: counts are left out.
        with_deadlines: How many of them can expire.
        names: The attributes that may be told of, ``None`` for all.
    """
    schema = table.schema
    described: dict[str, object] = {
        "records": "./",
        "name": schema.name,
        "database": schema.database,
        "primaryKey": schema.primary_key,
        "sealed": schema.sealed,
    }
    if record_count is not None:
        described["recordCount"] = record_count
        described["estimatedRecordRange"] = [record_count - with_deadlines, record_count]
    described["attributes"] = [
        attribute.describe()
        for attribute in schema.attributes
        if names is None or attribute.name in names
    ]
    return described
