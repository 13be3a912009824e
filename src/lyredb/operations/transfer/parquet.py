"""Parquet: read and written by duckdb, which is there only with the extra ``parquet``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from lyredb.errors import InvalidInput, InvalidRecord
from lyredb.formats import NDJSON
from lyredb.operations.transfer.cells import check_columns, json_of, key_of
from lyredb.operations.transfer.files import without_compression
from lyredb.operations.transfer.spec import SHOWN, STDIN, ImportSpec, Place, Row
from lyredb.tables.schema import TableSchema, TypeRef

if TYPE_CHECKING:
    import duckdb

DUCKDB_MEMORY: Final = "256MB"
"""Beyond it duckdb sorts and gathers on the disk."""
_FETCHED: Final = 2_000
"""Rows taken from duckdb at a time."""
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


def parquet_rows(spec: ImportSpec, schema: TableSchema, start: Place) -> Iterator[Row]:
    """Yield the rows of a file from a place on.

    Raises:
        InvalidInput: It cannot be read, or duckdb is not installed.
    """
    with _connected(f"{spec.path} cannot be read") as connection:
        # In the order of the file: a row is known by its number.
        connection.execute("SET preserve_insertion_order = true")
        found = connection.execute(
            "SELECT * FROM read_parquet(?) OFFSET ?", [spec.path, start.rows]
        )
        columns = [(column[0], str(column[1])) for column in found.description]
        readers = _column_readers(spec, schema, columns)
        count = start.rows
        while batch := found.fetchmany(_FETCHED):
            for values in batch:
                count += 1
                yield _parquet_row(values, readers, count)


def _column_readers(
    spec: ImportSpec, schema: TableSchema, columns: list[tuple[str, str]]
) -> list[tuple[str, Callable[[object], object]]]:
    """Return how the values of each column are read; what is JSON there is text here."""
    names = [name for name, _ in columns]
    try:
        check_columns(schema, names)
    except InvalidRecord as error:
        raise InvalidInput(str(error)) from error
    readers: list[tuple[str, Callable[[object], object]]] = []
    for name, type in columns:
        if type == "JSON":
            readers.append((name, _parsed))
        elif name == (spec.key or schema.primary_key) and schema.key_type == "Any":
            readers.append((name, _key))
        else:
            readers.append((name, _plain))
    return readers


def _parquet_row(
    values: Sequence[object],
    readers: Sequence[tuple[str, Callable[[object], object]]],
    count: int,
) -> Row:
    after = Place(0, count, count)
    try:
        record = {
            name: read(value)
            for value, (name, read) in zip(values, readers, strict=True)
            if value is not None
        }
    except ValueError as error:
        return Row(count, None, str(error), str(values)[:SHOWN], after)
    return Row(count, record, "", "", after)


def _parsed(value: object) -> object:
    return json_of(value) if isinstance(value, str) else _plain(value)


def _key(value: object) -> object:
    return key_of(value) if isinstance(value, str) else _plain(value)


def _plain(value: object) -> object:
    """A value of Parquet as one that records have."""
    match value:
        case None | str() | bool() | int() | float() | bytes():
            return value
        case datetime():
            return value if value.tzinfo else value.replace(tzinfo=UTC)
        case date():
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case list() | tuple():
            return [_plain(element) for element in value]
        case dict():
            return {str(name): _plain(element) for name, element in value.items()}
        case bytearray() | memoryview():
            return bytes(value)
        case UUID() | time() | timedelta():
            return str(value)
    return str(value)


def write_parquet(
    schema: TableSchema, columns: Sequence[str], values: Iterable[object], path: str
) -> None:
    """Write NDJSON beside the file, and have duckdb make columns of it.

    The file takes its name when it is whole.

    Raises:
        InvalidInput: It cannot be written, or duckdb is not installed.
    """
    if path == STDIN or without_compression(path) != path:
        raise InvalidInput("Parquet is written to a file, and has a compression of its own")
    target = Path(path)
    problem = f"{path} cannot be written"
    try:
        with (
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".lyredb-") as folder,
            _connected(problem) as connection,
        ):
            rows, made = Path(folder) / "rows.ndjson", Path(folder) / "made.parquet"
            with rows.open("wb") as out:
                for piece in NDJSON.encode_sequence(values):
                    out.write(piece)
            connection.execute("SET temp_directory = ?", [folder])
            connection.execute(_copy(schema, columns), [str(rows), str(made)])
            os.replace(made, target)
    except OSError as error:
        raise InvalidInput(f"{problem}: {str(error)[:200]}") from error


@contextmanager
def _connected(problem: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a database in memory; what goes wrong with it is the problem."""
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise InvalidInput("Parquet needs the extra: pip install 'lyredb[parquet]'") from error
    with duckdb.connect() as connection:
        try:
            connection.execute(f"SET memory_limit = '{DUCKDB_MEMORY}'")
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        except duckdb.Error as error:
            raise InvalidInput(f"{problem}: {str(error)[:200]}") from error


def _copy(schema: TableSchema, columns: Sequence[str]) -> str:
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
