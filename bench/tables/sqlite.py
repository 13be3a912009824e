"""The yardstick: SQLite in this process, prepared statements, answers as JSON."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from bench.tables import data
from bench.tables.questions import Asked, Kind, of_row

_TABLES: Final = """
CREATE TABLE Site (id TEXT PRIMARY KEY, name TEXT, region TEXT) WITHOUT ROWID;
CREATE TABLE Reading (
    id TEXT PRIMARY KEY, sensor TEXT, siteId TEXT, value REAL, at INTEGER, note TEXT
) WITHOUT ROWID;
"""
_INDEXES: Final = """
CREATE INDEX site_region ON Site (region);
CREATE INDEX reading_sensor ON Reading (sensor);
CREATE INDEX reading_value ON Reading (value);
ANALYZE;
"""
_BATCH: Final = 10_000
_CACHE_KB: Final = 262_144
"""As much as a small server would give it; the operating system caches the rest of the file."""


class Sqlite:
    """A filled database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._encode = msgspec.json.Encoder().encode

    def answer(self, kind: Kind, asked: Asked) -> bytes:
        """Return the answer as a server would send it."""
        rows = self._connection.execute(asked.sql, asked.parameters)
        if kind.is_record:
            return self._encode(of_row(asked, rows.fetchone()))
        return self._encode([of_row(asked, row) for row in rows])


@contextmanager
def sqlite(folder: Path, records: int) -> Iterator[Sqlite]:
    """Open a database with so many records; it is filled when it is not there yet."""
    file = folder / f"yardstick-{records}.sqlite"
    is_new = not file.exists()
    with closing(sqlite3.connect(file, isolation_level=None, cached_statements=64)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
        connection.execute(f"PRAGMA mmap_size = {1 << 34}")
        if is_new:
            _fill(connection, records)
        yield Sqlite(connection)


def _fill(connection: sqlite3.Connection, records: int) -> None:
    connection.executescript(_TABLES)
    connection.execute("PRAGMA synchronous = OFF")
    _insert(connection, "Site (id, name, region)", data.sites())
    columns = "Reading (id, sensor, siteId, value, at, note)"
    _insert(connection, columns, data.readings(records))
    connection.executescript(_INDEXES)


def _insert(
    connection: sqlite3.Connection, into: str, rows: Iterable[Mapping[str, object]]
) -> None:
    marks = ", ".join("?" * (into.count(",") + 1))
    waiting = iter(rows)
    while batch := [tuple(row.values()) for row in islice(waiting, _BATCH)]:
        connection.execute("BEGIN")
        connection.executemany(f"INSERT INTO {into} VALUES ({marks})", batch)
        connection.execute("COMMIT")
