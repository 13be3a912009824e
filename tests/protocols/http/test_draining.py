"""The stop of a port whose peers are stuck: they wait, the others do not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lyredb.protocols.http import Request
from lyredb.protocols.http.draining import STUCK_S, Draining
from tests.protocols.http.harness import TestPort, running
from tests.protocols.http.test_upgrade import KEY, MQTT, VERSION, Factory, handshake

PART = b"x" * 1_000_000
DEADLINE_S = 60.0
SOON_S = 15.0
"""Far from both: what takes half a second, and the deadline that was waited for."""


@dataclass(eq=False)
class FakeConnection:
    """A connection, and the transport of it."""

    waiting: int = 0
    is_ending: bool = False
    is_cut: bool = False
    transport: Any = field(init=False)

    def __post_init__(self) -> None:
        self.transport = self

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def abort(self) -> None:
        self.is_cut = True


def look_twice(connection: FakeConnection, after: Callable[[], None]) -> bool:
    async def body() -> None:
        draining = Draining(cast(Any, SimpleNamespace(connections={connection})))
        draining.look(100.0)
        assert not connection.is_cut
        after()
        draining.look(100.0 + STUCK_S)

    asyncio.run(body())
    return connection.is_cut


def test_only_a_peer_without_progress_is_cut_off() -> None:
    def read() -> None:
        reading.waiting -= 1

    reading = FakeConnection(waiting=2)
    assert not look_twice(reading, read)
    assert look_twice(FakeConnection(waiting=2), lambda: None)
    assert look_twice(FakeConnection(is_ending=True), lambda: None)


def test_a_handler_that_still_works_is_left_its_time() -> None:
    assert not look_twice(FakeConnection(), lambda: None)


async def assert_stops_soon(port: TestPort) -> None:
    async with asyncio.timeout(SOON_S):
        await port.server.stop(DEADLINE_S)
    assert port.server.connections == 0


async def answer_much(request: Request) -> None:
    request.exchange.start_stream(200, b"")
    while not request.exchange.is_gone:
        request.exchange.write_part(PART)
        await request.exchange.drain()


async def tell_much(request: Request) -> None:
    await request.receive()
    await request.send({"type": "websocket.accept"})
    connection = request.connection
    while not connection.is_paused:
        connection.transport.write(PART)
        await asyncio.sleep(0)
    for _ in range(20):  # more than the kernel takes in the meantime
        connection.transport.write(PART)
    assert (await request.receive())["type"] == "websocket.disconnect"


@pytest.mark.parametrize(
    ("handler", "request_"),
    [
        (answer_much, b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n"),
        (tell_much, handshake(VERSION + KEY)),
    ],
    ids=["response", "websocket"],
)
def test_a_peer_that_reads_nothing_does_not_hold_up_the_stop(
    handler: Callable[[Request], Awaitable[None]],
    request_: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor is it an error of the server's, so none is logged."""

    async def body() -> None:
        async with running(handler) as port:
            client = await port.connect()
            client.send(request_)
            await client.head()
            transport = cast(asyncio.Transport, client.writer.transport)
            transport.pause_reading()
            (connection,) = cast(Any, port.server)._port.connections
            async with asyncio.timeout(SOON_S):
                while not connection.transport.get_write_buffer_size():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await assert_stops_soon(port)

    asyncio.run(body())
    assert [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")] == []


def test_a_peer_that_answers_no_goodbye_does_not_hold_up_the_stop() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port:
            client = await port.connect()
            client.send(handshake(VERSION + KEY + MQTT))
            assert (await client.head())[0] == 101
            await assert_stops_soon(port)
            assert factory.made[0].shut
            assert (await client.reader.read())[:2] == b"\x88\x02"

    asyncio.run(body())
