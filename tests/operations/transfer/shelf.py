"""A store with tables, and files that go in and out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lyredb.errors import LyreError
from lyredb.operations.transfer.exporting import run_export
from lyredb.operations.transfer.importing import Imported, Watch, run_import
from lyredb.operations.transfer.intake import describe_table
from lyredb.operations.transfer.reader import batches
from lyredb.operations.transfer.spec import BadRow, Batch, Ended, FileFormat, ImportSpec, Place
from lyredb.operations.transfer.target import LocalTarget, Part
from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.keys import KeyValue, encode_full_key, is_short_form
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.sequencer import Result
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.stored import StoredTable
from tests.storage.store import ROOMY

MAX_RECORD_BYTES = 1_000_000

Record = dict[str, Any]


class Shelf:
    """A store that this process has open.

    Attributes:
        told: Bad rows of the imports so far.
    """

    def __init__(self, path: Path, sdl: str) -> None:
        self.engine = Engine.open(path, settings=ROOMY)
        self.writer = Writer(self.engine, call_soon=lambda callback: None)
        Catalogue.open(self.engine, self.writer, parse_sdl(sdl))
        self.told: list[BadRow] = []

    def close(self) -> None:
        self.writer.close()
        self.engine.close()

    def table(self, name: str = "data.T") -> StoredTable:
        return Catalogue.read(self.engine).tables[name]

    def spec(self, path: Path | str, format: FileFormat, **options: Any) -> ImportSpec:
        described = describe_table(self.engine, options.pop("table", "data.T"))
        return ImportSpec(
            str(path), format, described.schema, described.layout, described.slot, **options
        )

    def target(self, rows_at_once: int = 100) -> Watched:
        return Watched(self.engine, self.writer, rows_at_once)

    def run(
        self, spec: ImportSpec, target: LocalTarget | None = None, *, resume: bool = True
    ) -> Imported:
        self.told.clear()
        watch = Watch(self.told.append, lambda rows, size: None, lambda: False)
        return run_import(
            spec,
            target or self.target(),
            watch,
            max_record_bytes=MAX_RECORD_BYTES,
            resume=resume,
        )

    def put(self, records: Iterable[Record], name: str = "data.T") -> None:
        """Write records that have a key, and nothing else is in the table then."""
        table = self.table(name)
        with self.engine.snapshot() as snapshot:
            gone = [table.key_of(key, row) for key, row in snapshot.scan(table.slot)]
        mutations = [_mutation(table, key, Kind.DELETE, b"") for key in gone]
        for record in records:
            key = table.check_key(record[table.schema.primary_key])
            mutations.append(_mutation(table, key, Kind.PUT, table.encode(record, key)))
        self.commit(mutations)

    def commit(self, mutations: list[Mutation]) -> None:
        replies: list[Result] = []
        for mutation in mutations:
            self.writer.submit([mutation], replies.append)
        self.writer.commit_now()
        assert not [each for each in replies if isinstance(each, LyreError)], replies

    def records(self, name: str = "data.T") -> list[Record]:
        """All records with their keys, in the order of the keys."""
        table = self.table(name)
        with self.engine.snapshot() as snapshot:
            return [self._record(table, key, row) for key, row in snapshot.scan(table.slot)]

    def _record(self, table: StoredTable, key: bytes, row: bytes) -> Record:
        return dict(table.decode(table.key_of(key, row), row))

    def export(self, path: Path, format: FileFormat, query: str = "", name: str = "data.T") -> int:
        return run_export(
            self.engine,
            name,
            parse_query(query),
            path=str(path),
            format=format,
            on_progress=lambda done, of: None,
        )

    def problems(self) -> list[str]:
        return list(check(self.engine))


def _mutation(table: StoredTable, key: KeyValue, kind: Kind, body: bytes) -> Mutation:
    encoded = table.encode_key(key)
    full_id = encode_full_key(key) if is_short_form(encoded) else b""
    return Mutation(table.slot, encoded, kind, body, full_id=full_id)


class Watched(LocalTarget):
    """Counts transactions, and breaks off before one if it is told to."""

    def __init__(self, engine: Engine, writer: Writer, rows_at_once: int) -> None:
        super().__init__(engine, writer, rows_at_once=rows_at_once, bytes_at_once=1_000_000)
        self.parts: list[Part] = []
        self.breaks_at: int | None = None

    def write(self, parts: Any) -> list[Result]:
        if self.breaks_at is not None and len(self.parts) >= self.breaks_at:
            raise Broken
        self.parts += parts
        return super().write(parts)


class Broken(Exception):
    """The power is off."""


def read(spec: ImportSpec, start: Place | None = None) -> tuple[list[Batch], Ended]:
    """What the process that reads would send."""
    found: list[Batch] = []
    for message in batches(spec, start or Place(), MAX_RECORD_BYTES):
        if isinstance(message, Ended):
            return found, message
        found.append(message)
    return found, Ended()


def bad_rows(spec: ImportSpec) -> list[tuple[int, str]]:
    """Line and sentence of each row that cannot be imported."""
    found, ended = read(spec)
    bad = [row for batch in found for row in batch.bad] + ([ended.bad] if ended.bad else [])
    return [(row.line, row.problem) for row in bad]


def without_nulls(record: Mapping[str, Any]) -> Record:
    return {name: value for name, value in record.items() if value is not None}
