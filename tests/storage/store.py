"""An engine and a writer in a temporary directory, driven by hand, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lyredb.errors import LyreError
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import IndexLayout, TableLayout
from lyredb.storage.mutation import Applied, Kind, Mutation, Precondition
from lyredb.storage.record import decode_header, load_body, pack_body
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer

SLOT = 16
VALUE_INDEX = 16
TABLE = TableLayout(SLOT, "data.Sensor", indexes=(IndexLayout(VALUE_INDEX, ("value",)),))
SMALL = StorageSettings(map_size=1 << 28, min_free_bytes=0, segment_bytes=1)
"""Every group seals its segment: what needs a ring needs no megabytes."""
ROOMY = StorageSettings(map_size=1 << 28, min_free_bytes=0)


class ManualClock:
    """A wall clock that stands until it is moved."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.ms = now_ms

    def __call__(self) -> int:
        return self.ms


class Store:
    """An engine, its writer, and the ticks that the writer asked for."""

    def __init__(
        self,
        path: Path,
        *,
        settings: StorageSettings = ROOMY,
        clock: Callable[[], int] | None = None,
        table: TableLayout = TABLE,
    ) -> None:
        self.clock = clock or ManualClock()
        self.engine = Engine.open(path, settings=settings, now_ms=self.clock)
        try:
            self.engine.define_table(table)
        except LyreError:
            self.engine.close()
            raise
        self.ticks: list[Callable[[], None]] = []
        self.writer = Writer(self.engine, call_soon=self.ticks.append)

    def run(self) -> None:
        """Run ticks until none is asked for."""
        while self.ticks:
            self.ticks.pop(0)()

    def submit(self, *mutations: Mutation) -> list[Applied | LyreError]:
        """Submit a transaction and return the list that its reply will be in."""
        replies: list[Applied | LyreError] = []
        self.writer.submit(mutations, replies.append)
        return replies

    def commit(self, *mutations: Mutation) -> Applied:
        """Commit a transaction alone, maintenance included, or raise its error."""
        replies = self.submit(*mutations)
        self.run()
        (reply,) = replies
        if isinstance(reply, LyreError):
            raise reply
        return reply

    def record(self, key: str) -> dict[str, object] | None:
        """Return the live record of a key."""
        with self.engine.snapshot() as snapshot:
            stored = snapshot.get(SLOT, encode_key(key))
        return None if stored is None else body_of(stored)

    def close(self) -> None:
        """Close both."""
        self.writer.close()
        self.engine.close()


def body_of(stored: bytes) -> dict[str, object]:
    """Return the attributes of a stored record."""
    return load_body(stored[decode_header(stored).body_offset :])


def put(key: str, slot: int = SLOT, /, **attributes: object) -> Mutation:
    """Return a put of a record."""
    return Mutation(slot, encode_key(key), Kind.PUT, pack_body(attributes))


def patch(key: str, /, **attributes: object) -> Mutation:
    """Return a patch of a record."""
    return Mutation(SLOT, encode_key(key), Kind.PATCH, pack_body(attributes))


def add(key: str, /, **amounts: object) -> Mutation:
    """Return an increment of a record's attributes."""
    return Mutation(SLOT, encode_key(key), Kind.PATCH, operations=pack_body(amounts))


def delete(key: str) -> Mutation:
    """Return a delete of a record."""
    return Mutation(SLOT, encode_key(key), Kind.DELETE)


def check_of(key: str, precondition: Precondition | None = None) -> Mutation:
    """Return a check of a record, which writes nothing."""
    return Mutation(SLOT, encode_key(key), Kind.CHECK, precondition=precondition)


def message(key: str, payload: bytes = b"hello") -> Mutation:
    """Return a message to a key."""
    return Mutation(SLOT, encode_key(key), Kind.MESSAGE, payload)


def fill(store: Store, keys: Sequence[str], **attributes: object) -> None:
    """Commit one record per key, each in a group of its own."""
    for key in keys:
        store.commit(put(key, **attributes))
