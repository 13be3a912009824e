"""Rows of files: each with its line, as a record or as what is wrong with it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import IO, Final, NamedTuple
from uuid import UUID

import msgspec

from lyredb.errors import InvalidInput, InvalidRecord, LyreError
from lyredb.formats import JSON
from lyredb.operations.transfer.cells import Cells
from lyredb.operations.transfer.files import Source
from lyredb.operations.transfer.spec import MAX_COLUMNS, MAX_LINE_BYTES, ImportSpec, Place
from lyredb.tables.schema import TableSchema

_SHOWN: Final = 300
_MOST_JSON_BYTES: Final = 512_000_000
"""A JSON array is read as a whole; what is larger should be one record a line."""
_FETCHED: Final = 2_000


class Row(NamedTuple):
    """A row: a record, or a problem.

    Attributes:
        line: Where it begins, from 1.
        record: ``None`` when it is bad.
        problem: A sentence, when it is bad.
        text: The row as it stands there, shortened; only of a bad one.
        after: The place behind it.
    """

    line: int
    record: Mapping[str, object] | None
    problem: str
    text: str
    after: Place


def rows(spec: ImportSpec, schema: TableSchema, source: Source, start: Place) -> Iterator[Row]:
    """Yield the rows of a file from a place on.

    Raises:
        InvalidInput: The file is none of its format.
    """
    match spec.format:
        case "ndjson":
            return _ndjson(source, start)
        case "csv":
            return _csv(spec, schema, source, start)
        case "json":
            return _json(source, start)
        case _:
            return _parquet(spec, start)


def _go_to(source: Source, start: Place) -> int:
    """Return how many rows have to be passed over, after going as near as one can."""
    if source.can_seek and start.offset:
        source.stream.seek(start.offset)
        return 0
    return start.rows


def _ndjson(source: Source, start: Place) -> Iterator[Row]:
    skip = _go_to(source, start)
    offset, count, number = (start.offset, start.rows, start.line) if not skip else (0, 0, 0)
    readline = source.stream.readline
    while line := readline(MAX_LINE_BYTES + 1):
        offset += len(line)
        number += 1
        if not line.endswith(b"\n") and len(line) > MAX_LINE_BYTES:
            offset += _rest_of_line(source.stream)
            count += 1
            after = Place(offset, count, number)
            yield Row(number, None, f"longer than {MAX_LINE_BYTES} bytes", _shown(line), after)
            continue
        if line.isspace():
            continue
        count += 1
        if count <= skip:
            continue
        after = Place(offset, count, number)
        try:
            record = JSON.decode(line)
        except LyreError as error:
            yield Row(number, None, str(error), _shown(line), after)
            continue
        if isinstance(record, dict):
            yield Row(number, record, "", "", after)
        else:
            yield Row(number, None, "a row must be a JSON object", _shown(line), after)


def _rest_of_line(stream: IO[bytes]) -> int:
    passed = 0
    while part := stream.readline(MAX_LINE_BYTES):
        passed += len(part)
        if part.endswith(b"\n"):
            break
    return passed


class _Lines:
    """Text lines for the CSV reader, which takes as many as a row has."""

    def __init__(self, stream: IO[bytes], offset: int, number: int) -> None:
        self._stream = stream
        self.offset = offset
        self.number = number

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInput(f"line {self.number + 1} is longer than {MAX_LINE_BYTES} bytes")
        self.offset += len(line)
        self.number += 1
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInput(f"line {self.number} is no UTF-8 text") from error


def _csv(spec: ImportSpec, schema: TableSchema, source: Source, start: Place) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, MAX_LINE_BYTES))
    lines = _Lines(source.stream, 0, 0)
    try:
        header = next(csv.reader(lines, delimiter=spec.delimiter), None)
        if header is None:
            return
        if len(header) > MAX_COLUMNS:
            raise InvalidInput(f"a file has at most {MAX_COLUMNS} columns")
        cells = Cells(schema, header, spec.null)
        skip = _go_to(source, start)
        if not skip and start.rows:
            lines = _Lines(source.stream, start.offset, start.line)
        yield from _csv_rows(spec, cells, lines, skip, 0 if skip else start.rows)
    except InvalidRecord as error:
        raise InvalidInput(str(error)) from error


def _csv_rows(
    spec: ImportSpec, cells: Cells, lines: _Lines, skip: int, count: int
) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=spec.delimiter, strict=True)
    while True:
        number = lines.number + 1
        try:
            row = next(reader, None)
            problem = ""
        except csv.Error as error:
            row, problem = [], f"no CSV: {error}"
            reader = csv.reader(lines, delimiter=spec.delimiter, strict=True)
        if row is None:
            return
        if not row and not problem:
            continue
        count += 1
        if count <= skip:
            continue
        after = Place(lines.offset, count, lines.number)
        text = spec.delimiter.join(row)
        if problem:
            yield Row(number, None, problem, text[:_SHOWN], after)
            continue
        try:
            yield Row(number, cells.record(row), "", "", after)
        except InvalidRecord as error:
            yield Row(number, None, str(error), text[:_SHOWN], after)


def _json(source: Source, start: Place) -> Iterator[Row]:
    text = source.stream.read(_MOST_JSON_BYTES + 1)
    if len(text) > _MOST_JSON_BYTES:
        raise InvalidInput(
            f"a JSON file has at most {_MOST_JSON_BYTES} bytes; one record a line (.ndjson) may "
            "have any size"
        )
    try:
        found = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"no JSON list of objects: {error}") from error
    for count, raw in enumerate(islice(found, start.rows, None), start.rows + 1):
        after = Place(0, count, count)
        line = bytes(raw)
        try:
            record = JSON.decode(line)
        except LyreError as error:
            yield Row(count, None, str(error), _shown(line), after)
            continue
        if isinstance(record, dict):
            yield Row(count, record, "", "", after)
        else:
            yield Row(count, None, "an element must be an object", _shown(line), after)


def _parquet(spec: ImportSpec, start: Place) -> Iterator[Row]:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise InvalidInput("Parquet needs the extra: pip install 'lyredb[parquet]'") from error
    with duckdb.connect() as connection:
        try:
            # In the order of the file: a row is known by its number.
            connection.execute("SET preserve_insertion_order = true")
            connection.execute("SET TimeZone = 'UTC'")
            found = connection.execute(
                "SELECT * FROM read_parquet(?) OFFSET ?", [spec.path, start.rows]
            )
        except duckdb.Error as error:
            raise InvalidInput(f"{spec.path} cannot be read: {str(error)[:200]}") from error
        names = [column[0] for column in found.description]
        count = start.rows
        while batch := found.fetchmany(_FETCHED):
            for values in batch:
                count += 1
                pairs = zip(names, values, strict=True)
                record = {name: _plain(value) for name, value in pairs if value is not None}
                yield Row(count, record, "", "", Place(0, count, count))


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


def _shown(line: bytes) -> str:
    return line[:_SHOWN].decode(errors="replace").rstrip()
