"""A WebSocket that reads slowly stays open, and gets every change once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from lyredb.plugins.settings import SettingValue
from lyredb.protocols.http import HttpLimits
from lyredb.protocols.http.websocket import WebSocketConnection
from lyredb.protocols.websocket.plugin import WebSocketPlugin
from tests.protocols.node import TestNode, serving, until
from tests.protocols.websocket.test_websocket import open_socket, receive, until_ready

LIMIT = 100_000
TEXT = "x" * 100_000
WRITES = 150
"""Of `TEXT`: more than the sockets' own buffers hold."""
SLOW: dict[str, Any] = {"max_queue": 1, "ping_interval": None, "close_timeout": 0.5}
"""The library reads ahead no more than it must."""


@asynccontextmanager
async def slow_socket(
    *, limits: HttpLimits | None = None, **settings: SettingValue
) -> AsyncIterator[tuple[TestNode, ClientConnection]]:
    """A node, and a client of it that has the current state and reads no further."""
    rows = {"ws.bufferSize": LIMIT} | {f"ws.{name}": value for name, value in settings.items()}
    async with (
        serving(WebSocketPlugin(), settings=rows, limits=limits) as node,
        open_socket(node, "/Sensor/a", **SLOW) as socket,
    ):
        await until_ready(socket)
        yield node, socket


async def write_much(node: TestNode) -> None:
    for number in range(WRITES):
        await node.put("Sensor/a", {"n": number, "text": TEXT})


async def read_until(socket: ClientConnection, last: int) -> list[dict[str, Any]]:
    """Read until the record with this number."""
    events = [await receive(socket)]
    while numbers(events[-1:]) != [last]:
        events.append(await receive(socket))
    return events


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [one["value"]["n"] for one in events if one["type"] == "put"]


def test_slow_socket_stays_open_and_misses_no_change() -> None:
    async def body() -> None:
        async with slow_socket() as (node, socket):
            await write_much(node)
            events = await read_until(socket, WRITES - 1)
            assert numbers(events) == list(range(WRITES))
            assert len(events) == WRITES, "nothing else was to tell"
            await node.put("Sensor/a", {"n": WRITES, "text": ""})
            assert numbers([await receive(socket)]) == [WRITES]

    asyncio.run(body())


def test_lost_messages_are_told_by_one_gap() -> None:
    async def body() -> None:
        async with slow_socket() as (node, socket):
            for number in range(WRITES):
                node.publish("Sensor/a", b'{"n": %d, "text": "%b"}' % (number, TEXT.encode()))
                await asyncio.sleep(0)
            await node.put("Sensor/a", {"n": -1})
            events = await read_until(socket, -1)
            (gap,) = (one for one in events if one["type"] == "gap")
            came = [one for one in events if one["type"] == "message"]
            assert 0 < len(came) < WRITES
            assert gap["messages"] == WRITES - len(came)
            assert came[-1]["localTime"] <= gap["from"] <= gap["to"]
            assert set(gap) == {"type", "messages", "from", "to"}
            assert events.index(gap) == len(events) - 2, "before what the log has"

    asyncio.run(body())


def test_pings_do_not_end_a_slow_client() -> None:
    """One that waits behind what the client has yet to read: no answer says nothing."""

    async def body() -> None:
        limits = HttpLimits(ping_interval_s=100.0, ping_timeout_s=0.05)
        async with slow_socket(limits=limits) as (node, socket):
            await write_much(node)
            (connection,) = node.server._port.connections
            assert isinstance(connection, WebSocketConnection)
            connection.send_keepalive_ping()
            assert connection.pending_ping_payload is None, "it would only wait"
            super(WebSocketConnection, connection).send_keepalive_ping()
            await asyncio.sleep(0.3)  # six times as long as an answer may take
            assert numbers(await read_until(socket, WRITES - 1)) == list(range(WRITES))
            await until(lambda: connection.pending_ping_payload is None)

    asyncio.run(body())


def test_client_that_takes_nothing_is_cut_off() -> None:
    async def body() -> None:
        limits = HttpLimits(linger_s=0.2)  # deadlines are looked at every 50 ms then
        async with slow_socket(limits=limits, stallTimeout=0.3) as (node, socket):
            await write_much(node)
            await until(lambda: node.server.connections == 0)
            assert node.node.hub.statistics().subscribers == 0
            with pytest.raises(ConnectionClosed):
                await read_until(socket, WRITES - 1)

    asyncio.run(body())
