"""A store with tables, for tests of what lies in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lyredb.errors import LyreError
from lyredb.formats import PAUSE
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_full_key, is_short_form
from lyredb.storage.mutation import Applied, Kind, Mutation
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.query.execute import search
from lyredb.tables.query.terms import Query
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.stored import StoredTable


def found(engine: Engine, table: StoredTable, query: Query, **options: Any) -> list[Any]:
    """What `search` finds; it pauses now and then, on a machine that is slow at the moment."""
    return [one for one in search(engine, table, query, **options) if one is not PAUSE]


class Store:
    """An engine whose tables come from SDL; written synchronously."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.now_ms = 1_700_000_000_000
        self._open()

    def _open(self) -> None:
        settings = StorageSettings(map_size=1 << 28, min_free_bytes=0)
        self.engine = Engine.open(self._path, settings=settings, now_ms=lambda: self.now_ms)
        self.writer = Writer(self.engine, call_soon=lambda callback: None)

    def tables(self, sdl: str) -> Catalogue:
        """Open the catalogue with a schema."""
        self.catalogue = Catalogue.open(self.engine, self.writer, parse_sdl(sdl))
        return self.catalogue

    def table(self, sdl: str) -> StoredTable:
        """Open the catalogue and return the first table of the schema."""
        return self.tables(sdl).tables[parse_sdl(sdl).tables[0].full_name]

    def put(self, table: StoredTable, key: str | int, record: Mapping[str, object]) -> None:
        """Write a record as everybody does."""
        body, stored_key = table.encode(record, key), table.encode_key(key)
        full_id = encode_full_key(key) if is_short_form(stored_key) else b""
        self.write(Mutation(table.slot, stored_key, Kind.PUT, body, full_id=full_id))

    def write(self, *mutations: Mutation) -> None:
        """Commit one transaction."""
        results: list[Applied | LyreError] = []
        self.writer.submit(mutations, results.append)
        self.writer.commit_now()
        assert isinstance(results[0], Applied), results[0]

    def reopen(self) -> None:
        """Close everything and open it again, as a restart does."""
        self.close()
        self._open()

    def close(self) -> None:
        """Let go of the directory."""
        self.writer.close()
        self.engine.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made = Store(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    """Several stores, by name."""
    made: list[Store] = []

    def make(name: str) -> Store:
        made.append(Store(tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.close()
