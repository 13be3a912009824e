"""Users and roles on a new data directory, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from lyredb.security.roles import Roles
from lyredb.security.users import Users
from lyredb.security.web_sessions import WebSessions
from lyredb.storage.engine import Engine
from lyredb.storage.entry import Entry
from lyredb.storage.layout import ROLE_SLOT, SESSION_SLOT, USER_SLOT, TableLayout
from lyredb.storage.mutation import Kind
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer


class Place:
    """An engine with its writer, and what security keeps in it."""

    def __init__(self, path: Path) -> None:
        loop = asyncio.get_running_loop()
        self.path = path
        self.now_s = 1_000_000_000.0
        self.engine = Engine.open(
            path,
            settings=StorageSettings(map_size=64 * 1024**2),
            now_ms=lambda: int(self.now_s * 1000),
        )
        for slot, name in ((USER_SLOT, "user"), (ROLE_SLOT, "role"), (SESSION_SLOT, "session")):
            if slot not in self.engine.layouts:
                self.engine.define_table(TableLayout(slot, f"system.{name}", "name"))

        def call_soon(call: Callable[[], None]) -> None:
            loop.call_soon(call)

        self.writer = Writer(self.engine, call_soon=call_soon)
        self.users = Users(self.engine, self.writer)
        self.roles = Roles(self.engine, self.writer)
        self.sessions = WebSessions(self.engine, self.writer, lasting_s=1000.0)

    def access_entries(self) -> list[Entry]:
        with self.engine.snapshot() as snapshot:
            entries = list(snapshot.entries(0, limit=10_000))
        return [entry for entry in entries if entry.kind == Kind.ACCESS]


def run(path: Path, body: Callable[[Place], Coroutine[None, None, None]]) -> None:
    async def whole() -> None:
        place = Place(path)
        try:
            await body(place)
        finally:
            place.engine.close()

    asyncio.run(whole())
