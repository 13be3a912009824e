"""Makes data directories with sleeping sessions, by the storage's own calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import lmdb

from bench.peers.lyredb import SCHEMA, USERNAME, make_application
from bench.sessions.night import PAYLOAD, ROOT, Night
from lyredb.errors import LyreError
from lyredb.server.store import Store
from lyredb.sessions import rows
from lyredb.sessions.terms import Description, StoredSubscription
from lyredb.storage.apply import Rows
from lyredb.storage.environment import record_name
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import Applied, Kind, Mutation
from lyredb.storage.record import pack_body
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import SessionProgress, encode_progress, progress_name
from lyredb.tables.source import load_schema

BATCH: Final = 2_000
"""Mutations of one transaction."""
LASTS_S: Final = 7 * 86_400
_PUBLISHER: Final = 1
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sleeper:
    """A session to be made.

    Attributes:
        since_ms: When its client went; epoch milliseconds.
        expiry_s: How long it lasts from then.
    """

    client_id: str
    filters: Sequence[str]
    since_ms: int
    expiry_s: int = LASTS_S


class Filling:
    """A data directory that is being filled."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._slot = next(
            slot for slot, table in store.catalogue.by_slot.items() if table.name == f"data.{ROOT}"
        )
        self._number = 0

    def put_records(self, ids: Iterable[str]) -> None:
        """Write a record of about 100 bytes for each id."""
        body = pack_body({"seq": 1, "text": "x" * 60})
        self._commit(Mutation(self._slot, encode_key(one), Kind.PUT, body) for one in ids)

    def publish(self, ids: Iterable[str]) -> None:
        """Have the log get a message of QoS 1 for each id."""
        self._commit(
            Mutation(self._slot, encode_key(one), Kind.MESSAGE, PAYLOAD, qos=1, session=_PUBLISHER)
            for one in ids
        )

    def sleep(self, sleepers: Iterable[Sleeper]) -> None:
        """Make sessions that sleep here: connected, subscribed and gone, as a client does it."""
        for batch in _batches(sleepers, BATCH // 4):
            versions = [0] * len(batch)
            for stage in range(3):
                mutations: list[Mutation] = []
                written: list[tuple[bytes, bytes | None]] = []
                for place, sleeper in enumerate(batch):
                    mutation, progress = self._stage(sleeper, stage, versions[place], place)
                    mutations.append(mutation)
                    written += progress
                versions = [one.version for one in self._submit(mutations, written).outcomes]
            self._number += len(batch)

    def _stage(
        self, sleeper: Sleeper, stage: int, version: int, place: int
    ) -> tuple[Mutation, Rows]:
        """What a session writes when it begins, when it subscribes, and when it closes."""
        number = self._number + place + 1
        wanted = tuple(StoredSubscription(one, 1) for one in sleeper.filters)
        description = Description(
            sleeper.client_id,
            USERNAME,
            1,
            number,
            sleeper.expiry_s,
            stage < 2,
            sleeper.since_ms,
            wanted if stage else (),
        )
        engine = self._store.engine
        progress = SessionProgress(1, engine.log_id[:8], engine.position)
        row = (progress_name(number), encode_progress(progress))
        if not stage:
            return rows.creation_of(description), (row,)
        return rows.replacement_of(description, version), (row,)

    def _commit(self, mutations: Iterator[Mutation]) -> None:
        for batch in _batches(mutations, BATCH):
            self._submit(batch, ())

    def _submit(self, mutations: Sequence[Mutation], written: Rows) -> Applied:
        results: list[Result] = []
        self._store.writer.submit(mutations, results.append, session_rows=written)
        self._store.writer.commit_now()
        while self._store.writer.maintain():
            pass
        (result,) = results
        if isinstance(result, LyreError):
            raise result
        return result


def make_home(home: Path) -> Path:
    """Make a folder with an application of one table; return the application's."""
    home.mkdir(parents=True)
    return make_application(home, SCHEMA)


@contextmanager
def filling(home: Path) -> Iterator[Filling]:
    """Open the data of ``home`` to be filled; a new one gets an application with one table."""
    application = home / "app" if home.exists() else make_home(home)
    with asyncio.Runner() as runner:

        async def opened() -> Store:
            return Store.open(home / "data", load_schema(application))

        store = runner.run(opened())
        try:
            yield Filling(store)
        finally:
            runner.run(store.close())


def fill_night(home: Path, night: Night) -> float:
    """Make a data directory with a night in it; return how many seconds that took."""
    began = time.monotonic()
    now_ms = time.time_ns() // 1_000_000
    with filling(home) as made:
        made.put_records(night.others())
        for case in night.cases:
            made.put_records(case.records())
        for case in night.cases:
            made.sleep(
                Sleeper(case.client_id(number), (case.filter(number),), now_ms)
                for number in range(case.sessions)
            )
        made.publish(night.messages())
    return time.monotonic() - began


def disk_bytes(home: Path) -> int:
    """Return what the data directory takes on the disk."""
    return sum(file.stat().st_blocks * 512 for file in (home / "data").rglob("*"))


def session_bytes(home: Path) -> int:
    """Return what descriptions and rows of sessions take in pages of the store."""
    total = 0
    with lmdb.open(
        str(home / "data"), readonly=True, lock=False, max_dbs=4_096, create=False
    ) as environment:
        for name in (record_name(SESSION_SLOT), "sess"):
            handle = environment.open_db(name.encode(), create=False)
            with environment.begin(db=handle) as transaction:
                stat = transaction.stat(handle)
                pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
                total += pages * stat["psize"]
    return total


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
