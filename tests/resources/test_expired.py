"""Records that are gone, as every way of reading sees them, and as subscribers are told."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

import lyredb
from lyredb.resources.embedded import TRUSTED, EmbeddedDatabase
from lyredb.resources.requests import Write

SDL = """
type Short @table(expiration: 1) @export { id: ID n: Int @indexed }
type Timed @table @export { id: ID n: Int @indexed until: Float @expiresAt }
type Plain @table @export { id: ID n: Int @indexed }
"""


async def first_delete(db: EmbeddedDatabase, table: str) -> tuple[object, str]:
    """Follow a table until a delete is told; return its id and reason."""
    async with asyncio.timeout(10):
        async for event in db.tables[table].subscribe():
            if event.type == "delete":
                return event.id, event.reason
    raise AssertionError("the subscription has ended")


def test_a_record_is_removed_within_seconds_and_its_subscribers_are_told(tmp_path: Path) -> None:
    """A table with an expiration needs no more than that."""

    async def body() -> None:
        async with lyredb.open(tmp_path, schema=SDL) as db:
            await db.tables.Short.put("a", {"n": 1})
            assert await first_delete(db, "Short") == ("a", "expired")
            with db.database._engine.snapshot() as snapshot:
                assert snapshot.count(db.stored("data.Short").slot) == 0

    asyncio.run(body())


@pytest.mark.parametrize(("topic", "table"), [("Plain/a", "Plain"), ("open/a", "Topic")])
def test_a_message_that_expires_is_removed_where_no_rule_says_so(
    tmp_path: Path, topic: str, table: str
) -> None:
    """A retained one with an expiry of its own, of a table without a rule or of open topics.

    What is written without one stays.
    """

    async def body() -> None:
        async with lyredb.open(tmp_path, schema=SDL, open_topics=True) as db:
            target = db.database.registry.topic(topic, "python")
            soon = int(time.time() * 1000) + 1
            for end, expires_ms in (("", soon), ("b", 0)):
                one = db.database.registry.topic(topic + end, "python")
                write = Write(one, "put", payload=b'{"n":1}', retain=True, expires_ms=expires_ms)
                await db.database.write(write, TRUSTED)
            whole = db.database.registry.collection(db.stored(f"data.{table}"))
            described = db.database.describe(whole, TRUSTED, counts=True)
            assert described["estimatedRecordRange"] == [1, 2]
            assert await first_delete(db, table) == (target.id, "expired")
            with db.database._engine.snapshot() as snapshot:
                assert snapshot.count(db.stored(f"data.{table}").slot) == 1

    asyncio.run(body())


def test_every_read_hides_what_is_gone(tmp_path: Path) -> None:
    """Before it is removed: get, search by index and scan, and current state."""

    async def body() -> None:
        async with lyredb.open(tmp_path, schema=SDL) as db:
            past = time.time() * 1000 - 1
            await db.tables.Timed.put("gone", {"n": 1, "until": past})
            await db.tables.Timed.put("here", {"n": 1})
            assert await db.tables.Timed.get("gone") is None
            query = {"conditions": [{"attribute": "n", "value": 1}]}
            by_index = [one["id"] async for one in db.tables.Timed.search(query)]
            all_of_it = [one["id"] async for one in db.tables.Timed.search()]
            assert by_index == all_of_it == ["here"]
            async with asyncio.timeout(5):
                async for event in db.tables.Timed.subscribe():
                    assert (event.id, event.current) == ("here", True)
                    break

    asyncio.run(body())


def test_a_table_with_a_deadline_of_its_own_loses_that_record_only(tmp_path: Path) -> None:
    async def body() -> None:
        async with lyredb.open(tmp_path, schema=SDL) as db:
            soon = time.time() * 1000 + 300
            await db.tables.Timed.put("here", {"n": 1})
            await db.tables.Timed.put("gone", {"n": 1, "until": soon})
            assert await first_delete(db, "Timed") == ("gone", "expired")
            assert await db.tables.Timed.get("here") is not None

    asyncio.run(body())
