"""An export: what a query finds, as of one position, to a file in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from lyredb.formats import EXACT_CSV, JSON, NDJSON, PAUSE
from lyredb.operations.transfer.files import open_sink
from lyredb.operations.transfer.parquet import write_parquet
from lyredb.operations.transfer.spec import FileFormat
from lyredb.storage.engine import Engine
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.query.costs import QueryLimits
from lyredb.tables.query.execute import search
from lyredb.tables.query.terms import EVERYTHING, Query
from lyredb.tables.schema import TableSchema
from lyredb.tables.stored import StoredTable

UNLIMITED: Final = QueryLimits(looked_at=1 << 60, keys=50_000_000, seconds=1e9)
"""Who exports owns the data; sorting in memory stays bounded."""
PART_BYTES: Final = 1 << 18
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
    catalogue = Catalogue.read(engine)
    table = catalogue.table(full_name)
    with engine.snapshot() as snapshot:
        count = snapshot.count(table.slot)
    found = search(engine, table, query, tables=catalogue.tables.get, limits=UNLIMITED)
    counted = _Counted(_own(table.schema, query, found), count, on_progress)
    if format == "parquet":
        write_parquet(table.schema, columns_of(table.schema, query), counted, path)
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
