"""An export: what a query finds, as of one position, to a file in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from lyredb.errors import InvalidInput, UnknownTopic
from lyredb.formats import EXACT_CSV, JSON, NDJSON, PAUSE
from lyredb.operations.transfer.files import open_sink, without_compression
from lyredb.operations.transfer.spec import DUCKDB_MEMORY, STDIN, FileFormat
from lyredb.storage.engine import Engine
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.query.costs import QueryLimits
from lyredb.tables.query.execute import search
from lyredb.tables.query.terms import EVERYTHING, Query
from lyredb.tables.schema import TableSchema, TypeRef
from lyredb.tables.stored import StoredTable

UNLIMITED: Final = QueryLimits(looked_at=1 << 60, keys=50_000_000, seconds=1e9)
"""Who exports owns the data; sorting in memory stays bounded."""
PART_BYTES: Final = 1 << 18
_COLUMNS: Final = {
    "ID": "VARCHAR",
    "String": "VARCHAR",
    "Int": "INTEGER",
    "Long": "BIGINT",
    "Float": "DOUBLE",
    "BigInt": "VARCHAR",
    "Boolean": "BOOLEAN",
    "Date": "TIMESTAMPTZ",
    "Bytes": "VARCHAR",
    "Blob": "VARCHAR",
}
"""Types of Parquet columns. Integers of any length are text; what has a form of its own is JSON."""

Note = Callable[[int, int], None]


def run_export(
    engine: Engine,
    full_name: str,
    query: Query,
    *,
    path: str,
    format: FileFormat,
    on_progress: Note,
) -> int:
    """Write what a query finds; return how many records.

    Args:
        engine: Open for reading.
        full_name: ``<database>.<table>``.
        query: Conditions, order, limit, select.
        path: The file, ``-`` for standard output. It is there when it is whole.
        format: Of its rows.
        on_progress: Called with records written, and with how many the table has.

    Raises:
        UnknownTopic: There is no such table.
        InvalidInput: The file cannot be written.
        InvalidQuery, UnknownAttribute: The query makes no sense.
    """
    tables = Catalogue.read(engine).tables
    table = tables.get(full_name)
    if table is None:
        own = sorted(name for name in tables if not name.startswith("system."))
        raise UnknownTopic(f"there is no table {full_name}; there are {', '.join(own)[:300]}")
    with engine.snapshot() as snapshot:
        count = snapshot.count(table.slot)
    found = search(engine, table, query, tables=tables.get, limits=UNLIMITED)
    counted = _Counted(_own(table.schema, query, found), count, on_progress)
    if format == "parquet":
        _to_parquet(table, query, counted, path)
    else:
        with open_sink(path) as sink:
            for part in _parts(table, query, counted, format):
                sink.write(part)
    on_progress(counted.count, counted.count)
    return counted.count


class _Counted:
    """The values of an answer, counted as they are taken."""

    def __init__(self, values: Iterable[object], of: int, note: Note) -> None:
        self._values = values
        self._of = of
        self._note = note
        self.count = 0

    def __iter__(self) -> Iterator[object]:
        for value in self._values:
            if value is PAUSE:
                self._note(self.count, self._of)
                continue
            self.count += 1
            yield value


def _own(schema: TableSchema, query: Query, values: Iterable[object]) -> Iterable[object]:
    """Leave out what is computed, unless it is selected: an import would not take it."""
    made = [one.name for one in schema.attributes if one.is_virtual and one.enumerable]
    return values if query.select or not made else _without(made, values)


def _without(names: Sequence[str], values: Iterable[object]) -> Iterator[object]:
    for value in values:
        if isinstance(value, dict):
            yield {name: each for name, each in value.items() if name not in names}
        else:
            yield value


def _parts(
    table: StoredTable, query: Query, values: Iterable[object], format: FileFormat
) -> Iterator[bytes]:
    """Join what the format makes to parts that are worth a write."""
    match format:
        case "csv":
            pieces = EXACT_CSV.encode_sequence(values, columns=columns_of(table.schema, query))
        case "json":
            pieces = JSON.encode_sequence(values)
        case _:
            pieces = NDJSON.encode_sequence(values)
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PART_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join(waiting)


def columns_of(schema: TableSchema, query: Query) -> tuple[str, ...]:
    """Return the columns of a file that has columns: what is selected, or is declared."""
    names = [item.name for item in query.select.items] if query.select else [EVERYTHING]
    declared = [one.name for one in schema.attributes if not one.is_virtual]
    if schema.primary_key not in declared:
        declared.insert(0, schema.primary_key)
    found = [each for name in names for each in (declared if name == EVERYTHING else [name])]
    return tuple(dict.fromkeys(found))


def _to_parquet(table: StoredTable, query: Query, values: Iterable[object], path: str) -> None:
    """Write NDJSON beside the file, and have duckdb make columns of it."""
    if path == STDIN or without_compression(path) != path:
        raise InvalidInput("Parquet is written to a file, and has a compression of its own")
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise InvalidInput("Parquet needs the extra: pip install 'lyredb[parquet]'") from error
    target = Path(path)
    columns = columns_of(table.schema, query)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".lyredb-") as folder:
            rows, made = Path(folder) / "rows.ndjson", Path(folder) / "made.parquet"
            with rows.open("wb") as out:
                for piece in NDJSON.encode_sequence(values):
                    out.write(piece)
            with duckdb.connect() as connection:
                connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'")
                connection.execute("SET temp_directory = ?", [folder])
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute(_copy(table.schema, columns), [str(rows), str(made)])
            os.replace(made, target)
    except (OSError, duckdb.Error) as error:
        raise InvalidInput(f"{path} cannot be written: {str(error)[:200]}") from error


def _copy(schema: TableSchema, columns: tuple[str, ...]) -> str:
    types = {name: _column_type(schema, name) for name in columns}
    told = ", ".join(f"{_text(name)}: {_text(type)}" for name, type in types.items())
    names = ", ".join(
        f"from_base64({_name(name)}) AS {_name(name)}" if _is_bytes(schema, name) else _name(name)
        for name in columns
    )
    return (
        f"COPY (SELECT {names} FROM read_json(?, format='newline_delimited', "
        f"columns={{{told}}}, maximum_object_size=33554432)) TO ? (FORMAT parquet)"
    )


def _column_type(schema: TableSchema, name: str) -> str:
    if name == schema.primary_key and schema.key_type == "Any":
        return "VARCHAR"
    attribute = schema.attribute(name)
    return "JSON" if attribute is None else _type(attribute.type)


def _type(type: TypeRef) -> str:
    if type.element is not None:
        inner = _type(type.element)
        return "JSON" if inner == "JSON" else f"{inner}[]"
    return _COLUMNS.get(type.name, "JSON")


def _is_bytes(schema: TableSchema, name: str) -> bool:
    attribute = schema.attribute(name)
    return attribute is not None and attribute.type.name == "Bytes"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
