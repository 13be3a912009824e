"""Long results are bounded in number, and hold no snapshot while their readers are slow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lyredb.protocols.rest.plugin import RestPlugin
from lyredb.storage.engine import Engine
from lyredb.storage.snapshot import Snapshot
from tests.protocols.node import LOGIN, TestNode, serving, until

QUERY = b"GET /Sensor/ HTTP/1.1\r\nhost: localhost\r\n" + LOGIN + b"\r\n"
RECORDS = 40
SITE = "x" * 400_000
"""Together more than all buffers of a connection."""


async def fill(node: TestNode) -> None:
    for number in range(RECORDS):
        await node.put(f"Sensor/{number}", {"site": SITE})


def test_one_long_result_too_many_is_refused_until_another_ends() -> None:
    async def body() -> None:
        async with serving(RestPlugin(), settings={"rest.maxOpenSearches": 1}) as node:
            await fill(node)
            slow = await node.connect()
            slow.send(QUERY)
            assert (await slow.head())[0] == 200
            refused = await node.call("GET", "/Sensor/")
            assert refused.status == 503
            assert "retry-after" in refused.headers
            short = await node.call("GET", "/Sensor/?limit(0)")
            assert short.status == 200
            while await slow.chunk():
                pass
            assert (await node.call("GET", "/Sensor/")).status == 200

    asyncio.run(body())


def test_a_reader_who_leaves_gives_its_place_back() -> None:
    async def body() -> None:
        async with serving(RestPlugin(), settings={"rest.maxOpenSearches": 1}) as node:
            await fill(node)
            slow = await node.connect()
            slow.send(QUERY)
            await slow.head()
            slow.writer.transport.abort()
            await until(lambda: node.server.connections == 0)
            assert (await node.call("GET", "/Sensor/")).status == 200

    asyncio.run(body())


def test_no_snapshot_is_open_while_a_part_waits_for_its_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A held snapshot makes the data file grow with every write."""
    opened = 0
    held: set[int] = set()

    @contextmanager
    def watched(engine: Engine) -> Iterator[Snapshot]:
        nonlocal opened
        opened += 1
        mine = opened
        with real(engine) as snapshot:
            held.add(mine)
            yield snapshot
            held.discard(mine)

    async def body() -> None:
        async with serving(RestPlugin()) as node:
            await fill(node)
            monkeypatch.setattr(Engine, "snapshot", watched)
            slow = await node.connect()
            slow.send(QUERY)
            await slow.head()
            monkeypatch.undo()
            assert opened
            assert not held
            slow.writer.transport.abort()

    real = Engine.snapshot
    asyncio.run(body())
