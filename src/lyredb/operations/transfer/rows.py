"""Rows of files: each with its line, as a record or as what is wrong with it."""

from __future__ import annotations

import codecs
import csv
import re
import sys
from collections.abc import Iterator
from itertools import islice
from typing import IO, Final

import msgspec

from lyredb.errors import InvalidInput, InvalidRecord, LyreError
from lyredb.formats import JSON
from lyredb.operations.transfer.cells import EMPTY_TEXT, Cells
from lyredb.operations.transfer.files import Source
from lyredb.operations.transfer.parquet import parquet_rows
from lyredb.operations.transfer.spec import (
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    SHOWN,
    ImportSpec,
    Place,
    Row,
)
from lyredb.tables.schema import TableSchema

_MOST_JSON_BYTES: Final = 512_000_000
"""A JSON array is read as a whole; what is larger should be one record a line."""


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
            return parquet_rows(spec, schema, start)


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
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
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
        yield _json_row(line, number, Place(offset, count, number))


def _rest_of_line(stream: IO[bytes]) -> int:
    passed = 0
    while part := stream.readline(MAX_LINE_BYTES):
        passed += len(part)
        if part.endswith(b"\n"):
            break
    return passed


class _BadLine(Exception):
    """A line that no row can have."""


class _Lines:
    """Text lines for the CSV reader, which takes as many as a row has.

    The reader does not tell an empty cell from an empty text in quotes, so that one is
    replaced by `EMPTY_TEXT` here.
    """

    def __init__(self, stream: IO[bytes], delimiter: str, place: Place) -> None:
        self._stream = stream
        self._empty = re.compile(
            rf'(?<![^{re.escape(delimiter)}])""(?=[{re.escape(delimiter)}\r\n]|$)'
        )
        self._is_quoted = False
        self._row_bytes = 0
        self.offset = place.offset
        self.number = place.line

    def begin_row(self) -> None:
        """Take note that the next line begins a row."""
        self._is_quoted = False
        self._row_bytes = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.offset += len(line)
        self.number += 1
        self._row_bytes += len(line)
        if self._row_bytes > MAX_LINE_BYTES:
            if not line.endswith(b"\n"):
                self.offset += _rest_of_line(self._stream)
            raise _BadLine(f"longer than {MAX_LINE_BYTES} bytes")
        try:
            text = line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _BadLine("no UTF-8 text") from error
        return self._marked(text) if '"' in text else text

    def _marked(self, text: str) -> str:
        """Mark empty texts, those that stand outside of quoted cells."""
        parts: list[str] = []
        at = 0
        for found in self._empty.finditer(text):
            self._is_quoted ^= bool(text.count('"', at, found.start()) % 2)
            parts += (text[at : found.start()], found[0] if self._is_quoted else EMPTY_TEXT)
            at = found.end()
        self._is_quoted ^= bool(text.count('"', at) % 2)
        return "".join((*parts, text[at:]))


def _csv(spec: ImportSpec, schema: TableSchema, source: Source, start: Place) -> Iterator[Row]:
    csv.field_size_limit(min(sys.maxsize, MAX_LINE_BYTES))
    lines = _Lines(source.stream, spec.delimiter, Place())
    try:
        header = next(csv.reader(lines, delimiter=spec.delimiter, strict=True), None)
        if header is None:
            return
        if len(header) > MAX_COLUMNS:
            raise InvalidInput(f"a file has at most {MAX_COLUMNS} columns")
        cells = Cells(schema, header, spec.null, spec.key)
    except (InvalidRecord, _BadLine, csv.Error) as error:
        raise InvalidInput(f"the first line names no columns: {error}") from error
    skip = _go_to(source, start)
    if not skip and start.rows:
        lines = _Lines(source.stream, spec.delimiter, start)
    yield from _csv_rows(spec, cells, lines, skip, 0 if skip else start.rows)


def _csv_rows(
    spec: ImportSpec, cells: Cells, lines: _Lines, skip: int, count: int
) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=spec.delimiter, strict=True)
    while True:
        number = lines.number + 1
        lines.begin_row()
        problem = ""
        try:
            row = next(reader, None)
        except (csv.Error, _BadLine) as error:
            row, problem = [], str(error) if isinstance(error, _BadLine) else f"no CSV: {error}"
            reader = csv.reader(lines, delimiter=spec.delimiter, strict=True)
        if row is None:
            return
        if not row and not problem:
            continue
        count += 1
        if count <= skip:
            continue
        after = Place(lines.offset, count, lines.number)
        if problem:
            yield Row(number, None, problem, "", after)
            continue
        try:
            yield Row(number, cells.record(row), "", "", after)
        except InvalidRecord as error:
            text = spec.delimiter.join(row).replace(EMPTY_TEXT, '""')
            yield Row(number, None, str(error), text[:SHOWN], after)


def _json(source: Source, start: Place) -> Iterator[Row]:
    text = source.stream.read(_MOST_JSON_BYTES + 1)
    if len(text) > _MOST_JSON_BYTES:
        raise InvalidInput(
            f"a JSON file has at most {_MOST_JSON_BYTES} bytes; one record a line (.ndjson) may "
            "have any size"
        )
    try:
        whole = text.removeprefix(codecs.BOM_UTF8)
        found = msgspec.json.decode(whole, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"no JSON list of objects: {error}") from error
    for count, raw in enumerate(islice(found, start.rows, None), start.rows + 1):
        yield _json_row(bytes(raw), count, Place(0, count, count))


def _json_row(text: bytes, line: int, after: Place) -> Row:
    try:
        record = JSON.decode(text)
    except LyreError as error:
        return Row(line, None, str(error), _shown(text), after)
    if isinstance(record, dict):
        return Row(line, record, "", "", after)
    return Row(line, None, "a row must be a JSON object", _shown(text), after)


def _shown(line: bytes) -> str:
    return line[:SHOWN].decode(errors="replace").rstrip()
