"""Transactions beside each other against a dict: serialisable in what they read.

Two transactions and single writes are interleaved at random. Each transaction must see the
records of its beginning with its own writes on top, by key and by search; it must commit
exactly when nothing that it has read was changed meanwhile; and what is there in the end is
what the commits make of a dict, one after the other.
"""

from __future__ import annotations

import asyncio
import contextvars
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any

import lyredb
from lyredb.errors import WriteConflict
from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.storage.check import check

SDL = "type T @table @export { id: ID @primaryKey value: Int @indexed n: Int other: Int }"
KEYS = "abcd"
Record = dict[str, Any]
Records = dict[str, Record]

WRITES = ("put", "patch", "add", "delete")
INSIDE = ("get", *WRITES, "search", "all", "begin", "commit", "abort")
TRIALS = 150


def steps(random: Random) -> Iterator[tuple[str, tuple[str, str, int]]]:
    """Who does what: two transactions, and single writes of others."""
    for _ in range(random.randint(10, 40)):
        who = random.choice(("direct", "first", "second"))
        kind = random.choice(WRITES if who == "direct" else INSIDE)
        yield who, (kind, random.choice(KEYS), random.randint(0, 2))


def do(records: Records, kind: str, key: str, value: int) -> None:
    """Do a write on a dict."""
    if kind == "put":
        records[key] = {"value": value}
    elif kind == "patch":
        records[key] = {**records.get(key, {}), "value": value}
    elif kind == "add":
        record = dict(records.get(key, {}))
        records[key] = {**record, "n": record.get("n", 0) + value}
    elif kind == "delete":
        records.pop(key, None)


class Model:
    """What is committed, and how often each key was written."""

    def __init__(self) -> None:
        self.records: Records = {}
        self.writes: Counter[str] = Counter()

    def write(self, kind: str, key: str, value: int) -> None:
        if kind == "delete" and key not in self.records:
            return
        do(self.records, kind, key, value)
        self.writes[key] += 1


class ModelTransaction:
    """What a transaction has to see, and whether it may commit."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._begun = dict(model.writes)
        self.seen = {key: dict(record) for key, record in model.records.items()}
        self._at_begin = set(self.seen)
        self._read: set[str] = set()
        self._looked_at: set[str] = set()
        self._blind: set[str] = set()
        self._written: set[str] = set()
        self.writes: list[tuple[str, str, int]] = []

    def _changed(self, key: str) -> bool:
        if key not in self._at_begin and key not in self._model.records:
            return False  # there was none and there is none, whatever was in between
        return self._model.writes[key] != self._begun.get(key, 0)

    @property
    def must_conflict(self) -> bool:
        return bool(self.writes) and any(map(self._changed, self._read))

    def read(self, key: str) -> Record | None:
        """Raises `WriteConflict` where that is known already."""
        known = key in self._looked_at or (key in self._written and key not in self._blind)
        if not known and self.writes and self._changed(key):
            raise WriteConflict
        self._read.add(key)
        self._looked_at.add(key)
        self._blind.discard(key)
        return self.seen.get(key)

    def search(self, value: int | None) -> Records:
        for key in sorted(self._blind):
            self.read(key)
        found = {
            key: record
            for key, record in self.seen.items()
            if value is None or record.get("value") == value
        }
        self._read |= found.keys() - self._written
        return found

    def write(self, kind: str, key: str, value: int) -> bool:
        """Return whether there was a record, where the caller is told."""
        existed = False
        if kind == "delete":
            existed = self.read(key) is not None
            if not existed:
                return False
        elif key not in self._looked_at and key not in self._written:
            self._blind.add(key)
        do(self.seen, kind, key, value)
        self._written.add(key)
        self.writes.append((kind, key, value))
        return existed

    def commit(self) -> None:
        for write in self.writes:
            self._model.write(*write)


async def act(db: EmbeddedDatabase, kind: str, key: str, value: int) -> object:
    """Do one action on the database."""
    table = db.tables.T
    match kind:
        case "get":
            return await table.get(key)
        case "put":
            return await table.put(key, {"value": value})
        case "patch":
            await table.patch(key, value=value)
            return None
        case "add":
            await table.add(key, n=value)
            return None
        case "delete":
            return await table.delete(key)
        case "search":
            return {one["id"]: one async for one in table.search(("value", value))}
        case _:
            return {one["id"]: one async for one in table.search()}


Call = Callable[[], Coroutine[Any, Any, object]]


class Actor:
    """A task of its own that begins, fills and ends transactions as it is told."""

    def __init__(self, db: EmbeddedDatabase) -> None:
        self._db = db
        self._calls: asyncio.Queue[tuple[Call, asyncio.Future[object]] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._run(), context=contextvars.Context())
        self.block: Any = None

    async def _run(self) -> None:
        while (job := await self._calls.get()) is not None:
            call, future = job
            try:
                future.set_result(await call())
            except Exception as error:
                future.set_exception(error)

    async def tell(self, call: Call) -> object:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._calls.put_nowait((call, future))
        return await future

    async def begin(self) -> None:
        self.block = self._db.transaction()
        await self.tell(self.block.__aenter__)

    async def end(self, error: Exception | None = None) -> None:
        block, self.block = self.block, None
        kind = None if error is None else type(error)
        await self.tell(lambda: block.__aexit__(kind, error, None))

    async def stop(self) -> None:
        self._calls.put_nowait(None)
        await self.task


def expected(key: str, record: Record | None) -> Record | None:
    return None if record is None else {"id": key, **record}


class Trial:
    """One run of random steps."""

    def __init__(self, db: EmbeddedDatabase) -> None:
        self.db = db
        self.model = Model()
        self.actors = {name: Actor(db) for name in ("first", "second")}
        self.running: dict[str, ModelTransaction] = {}
        self.seen: Counter[str] = Counter()

    async def step(self, who: str, action: tuple[str, str, int]) -> None:
        kind = action[0]
        if who == "direct":
            await act(self.db, *action)
            if kind != "get":
                self.model.write(*action)
        elif who not in self.running:
            await self.actors[who].begin()
            self.running[who] = ModelTransaction(self.model)
        elif kind == "commit":
            await self.commit(who)
        elif kind == "abort":
            del self.running[who]
            await self.actors[who].end(KeyError())
        elif kind != "begin":
            await self.inside(who, action)

    async def inside(self, who: str, action: tuple[str, str, int]) -> None:
        kind, key, value = action
        actor, model = self.actors[who], self.running[who]
        wanted: object
        try:
            if kind == "get":
                wanted = expected(key, model.read(key))
            elif kind in ("search", "all"):
                found = model.search(value if kind == "search" else None)
                wanted = {name: expected(name, record) for name, record in found.items()}
            else:
                wanted = model.write(*action)
        except WriteConflict:
            await self.conflicts(actor, action)
            del self.running[who]
            return
        got = await actor.tell(lambda: act(self.db, *action))
        if kind in ("get", "search", "all", "delete"):
            assert got == wanted, (who, action)
            self.seen[kind] += 1

    async def conflicts(self, actor: Actor, action: tuple[str, str, int]) -> None:
        try:
            await actor.tell(lambda: act(self.db, *action))
        except WriteConflict as error:
            self.seen["early"] += 1
            await actor.end(error)
            return
        raise AssertionError(f"{action} must find that it cannot be committed")

    async def commit(self, who: str) -> None:
        model = self.running.pop(who)
        try:
            await self.actors[who].end()
        except WriteConflict:
            assert model.must_conflict
            self.seen["conflict"] += 1
            return
        assert not model.must_conflict
        self.seen["commit"] += 1
        model.commit()

    async def finish(self) -> None:
        for who in list(self.running):
            await self.commit(who)
        for actor in self.actors.values():
            await actor.stop()
        found = {one.pop("id"): one async for one in self.db.tables.T.search()}
        assert found == self.model.records


def test_transactions_are_serialisable_in_what_they_read() -> None:
    """And the trials have what they are for: commits, conflicts of both kinds, reads."""
    seen: Counter[str] = Counter()

    async def body() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with lyredb.open(Path(folder) / "data", schema=SDL) as db:
                for seed in range(TRIALS):
                    one = Trial(db)
                    try:
                        for who, action in steps(Random(seed)):
                            await one.step(who, action)
                        await one.finish()
                    except BaseException as error:
                        error.add_note(f"in trial {seed}")
                        raise
                    seen.update(one.seen)
                    for key in KEYS:
                        await db.tables.T.delete(key)
                assert check(db.database._engine) == []

    asyncio.run(body())
    assert min(seen[kind] for kind in ("get", "search", "all", "delete", "commit")) > 50, seen
    assert min(seen["conflict"], seen["early"]) > 10, seen
