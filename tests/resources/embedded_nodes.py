"""An open database whose writer is in the same process, and one of a worker beside a writer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.server.node import Node
from lyredb.server.store import Store
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.service import WriterService
from lyredb.storage.settings import StorageSettings
from lyredb.tables.sdl import parse_sdl

Opener = Callable[[Path, str, StorageSettings], AbstractAsyncContextManager[EmbeddedDatabase]]


@asynccontextmanager
async def inline(
    path: Path, schema: str, storage: StorageSettings
) -> AsyncIterator[EmbeddedDatabase]:
    """As ``lyredb.open`` does it."""
    node = Node.open(path, parse_sdl(schema), storage=storage)
    try:
        yield EmbeddedDatabase(node.database)
    finally:
        await node.close()


@asynccontextmanager
async def worker(
    path: Path, schema: str, storage: StorageSettings
) -> AsyncIterator[EmbeddedDatabase]:
    """As in ``lyredb run``, with both ends of the stream in one loop and one engine."""
    loop = asyncio.get_running_loop()
    store = Store.open(path, parse_sdl(schema), storage=storage)
    service = WriterService(store.engine, store.writer, loop=loop)
    remote = RemoteWriter(store.engine, 1, loop=loop)
    ours, theirs = socket.socketpair()
    service.attach(1, ours)
    remote.attach(theirs)
    async with asyncio.timeout(10):
        while not remote.is_attached:  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0)
    node = Node(store.engine, remote, store.catalogue, remote.calls, open_topics=False)
    try:
        yield EmbeddedDatabase(node.database)
    finally:
        await node.close()
        service.close()
