"""The files of an application are followed, and never read half."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lyredb.applications.application import Application, load_application
from lyredb.server import schema_files
from lyredb.server.schema_files import follow_tables, stamp_of
from lyredb.tables.schema import Schema

FIRST = "type A @table @export { id: ID }"


def test_a_file_that_is_being_written_is_read_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor has emptied it: without tables nothing would be served for half a second."""
    file = tmp_path / "schema.graphql"
    file.write_text(FIRST)

    def load(folder: Path) -> Application:
        loaded = load_application(folder)
        if not file.read_text():
            file.write_text(FIRST + " type B @table @export { id: ID }")
        return loaded

    monkeypatch.setattr(schema_files, "load_application", load)

    async def body() -> None:
        seen: asyncio.Queue[list[str]] = asyncio.Queue()

        async def evolve(schema: Schema) -> list[str]:
            seen.put_nowait([table.name for table in schema.tables])
            return []

        following = asyncio.create_task(
            follow_tables(tmp_path, stamp_of(tmp_path), evolve, look_s=0.01, settle_s=0.0)
        )
        file.write_text("")
        async with asyncio.timeout(10):
            assert await seen.get() == ["A", "B"]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(body())
