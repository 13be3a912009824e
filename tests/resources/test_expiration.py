"""Records of a table with an expiration carry their deadline."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import lyredb
from lyredb.resources.embedded import TRUSTED
from lyredb.storage.record import RecordHeader

SDL = "type Session @table(expiration: 3600) { id: ID } type Lasting @table { id: ID }"


def test_each_write_sets_the_deadline_of_its_table(tmp_path: Path) -> None:
    """Seconds after the last write, a patch included; never without an expiration."""

    async def body() -> None:
        async with lyredb.open(tmp_path, schema=SDL) as db:

            def header(table: str) -> RecordHeader:
                stored = db.stored(f"data.{table}")
                target = db._record(stored, "a")
                reading = db.database.get(target, TRUSTED)
                assert reading is not None
                return reading.header

            before_ms = time.time_ns() // 1_000_000
            await db.tables.Session.put("a", {"x": 1})
            first = header("Session").expires_ms
            assert before_ms <= first - 3_600_000 <= time.time_ns() // 1_000_000
            await db.tables.Session.patch("a", x=2)
            assert header("Session").expires_ms >= first
            await db.tables.Lasting.put("a", {"x": 1})
            assert header("Lasting").expires_ms == 0

    asyncio.run(body())
