"""Two workers beside a writer in one event loop: a node as a server has it, without processes.

They share the engine, as LMDB is opened once per process; each has its own hub, tail and
stream to the writer, and a socket to the other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from lyredb.server.node import Node
from lyredb.server.store import Store
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.service import WriterService
from lyredb.tables.sdl import parse_sdl


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(0)


@asynccontextmanager
async def two_workers(path: Path, sdl: str) -> AsyncIterator[tuple[Node, Node]]:
    """Open a store with two workers that know of each other."""
    loop = asyncio.get_running_loop()
    store = Store.open(path, parse_sdl(sdl))
    service = WriterService(store.engine, store.writer, loop=loop)
    nodes: list[Node] = []

    def passed(position: int) -> bool:
        return all(node.tail.position >= position for node in nodes)

    for number in (1, 2):
        remote = RemoteWriter(store.engine, number, loop=loop)
        ours, theirs = socket.socketpair()
        service.attach(number, ours)
        remote.attach(theirs)
        await until(lambda remote=remote: remote.is_attached)  # type: ignore[misc]
        node = Node(
            store.engine, remote, store.catalogue, remote.calls, open_topics=True, passed=passed
        )
        remote.before_send = node.hub.flush_to_peers
        node.hub.tail_may_lead = True
        nodes.append(node)
    here, there = socket.socketpair()
    nodes[0].hub.peers.attach(2, here)
    nodes[1].hub.peers.attach(1, there)
    try:
        yield nodes[0], nodes[1]
    finally:
        for node in nodes:
            node.database.close()
            await node.writer.drain(1.0)
        service.close()
        await store.close()
