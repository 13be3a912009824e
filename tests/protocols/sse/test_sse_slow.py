"""A client that reads slowly keeps its stream, and gets every change once, in order."""

from __future__ import annotations

import asyncio
import random
import socket
import statistics
import time

import pytest

from lyredb.protocols.http import HttpLimits
from lyredb.protocols.sse.plugin import SsePlugin
from lyredb.resources.subscription import State
from tests.protocols.node import LOGIN, RawClient, TestNode, serving, until
from tests.protocols.sse.test_sse import Event, Source, source

LIMIT = 100_000
TEXT = "x" * 100_000
WRITES = 120
"""Of `TEXT`: more than the sockets' own buffers hold."""


async def write_much(node: TestNode, count: int = WRITES) -> None:
    for number in range(count):
        await node.put("Sensor/a", {"n": number, "text": TEXT})


async def read_until(stream: Source, last: int) -> list[Event]:
    """Read until the record with this number."""
    events = [await stream.next()]
    while numbers(events[-1:]) != [last]:
        events.append(await stream.next())
    return events


def numbers(events: list[Event]) -> list[object]:
    return [
        one.envelope["value"]["n"]  # type: ignore[index]  # a record
        for one in events
        if one.event == "message" and one.envelope["type"] == "put"
    ]


def test_slow_stream_goes_on_and_misses_no_change() -> None:
    async def body() -> None:
        async with serving(SsePlugin(), settings={"sse.bufferSize": LIMIT}) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            await write_much(node)
            events = await read_until(stream, WRITES - 1)
            assert numbers(events) == list(range(WRITES))
            assert {one.event for one in events} == {"message"}, "nothing else was to tell"
            await node.put("Sensor/a", {"n": WRITES, "text": ""})
            assert numbers([await stream.next()]) == [WRITES]

    asyncio.run(body())


def test_lost_messages_are_told_by_one_gap() -> None:
    """Messages are in no log: how many, and between which times, is all there is to say."""

    async def body() -> None:
        async with serving(SsePlugin(), settings={"sse.bufferSize": LIMIT}) as node:
            stream = await source(node, "/Sensor/a")
            await stream.until_ready()
            for number in range(WRITES):
                node.publish("Sensor/a", b'{"n": %d, "text": "%b"}' % (number, TEXT.encode()))
                await asyncio.sleep(0)
            await node.put("Sensor/a", {"n": -1})
            events = await read_until(stream, -1)
            (gap,) = (one for one in events if one.event == "gap")
            came = [one for one in events if one.event == "message" and not one.id]
            assert 0 < len(came) < WRITES
            assert gap.envelope["messages"] == WRITES - len(came)
            assert gap.envelope["from"] >= came[-1].envelope["localTime"]  # type: ignore[operator]
            assert gap.envelope["to"] >= gap.envelope["from"]  # type: ignore[operator]
            assert not gap.id, "it is no position"
            assert events.index(gap) == len(events) - 2, "before what the log has"

    asyncio.run(body())


def test_stuck_client_costs_its_buffer_and_nobody_else_anything() -> None:
    async def body() -> None:
        async with serving(SsePlugin(), settings={"sse.bufferSize": LIMIT}) as node:
            stuck = await source(node, "/Sensor/a")
            await stuck.until_ready()
            good = await source(node, "/Sensor/a")
            await good.until_ready()
            reading = asyncio.create_task(read_until(good, WRITES - 1))
            most = 0
            for number in range(WRITES):
                await node.put("Sensor/a", {"n": number, "text": TEXT})
                sizes = [
                    one.transport.get_write_buffer_size() for one in node.server._port.connections
                ]
                most = max(most, *sizes)
            assert numbers(await reading) == list(range(WRITES))
            assert LIMIT < most <= LIMIT + 2 * (len(TEXT) + 1_000)

    asyncio.run(body())


def test_client_that_takes_nothing_is_cut_off_and_a_slow_one_is_not() -> None:
    """A slow one has more waiting at each look than at the one before, for a while."""

    async def body() -> None:
        settings = {"sse.bufferSize": 5_000_000, "sse.stallTimeout": 1.0}
        limits = HttpLimits(linger_s=0.2)  # deadlines are looked at every 50 ms then
        async with serving(SsePlugin(), settings=settings, limits=limits) as node:
            stuck = await source(node, "/Sensor/a")
            slow = await source(node, "/Sensor/a")
            await stuck.until_ready()
            await slow.until_ready()
            await write_much(node, 100)
            async with asyncio.timeout(10):
                while len(node.server._port.connections) == 2:
                    await node.put("Sensor/a", {"n": -1, "text": TEXT})
                    await slow.client.reader.readexactly(150_000)  # as kernels open windows
                    await asyncio.sleep(0.1)
            await until(lambda: node.node.hub.statistics().subscribers == 1)
            assert await read_all(stuck) == [], "it was cut off in the middle"

    asyncio.run(body())


def test_beyond_the_sum_of_all_a_reader_is_cut_off_and_the_others_go_on() -> None:
    async def body() -> None:
        limits = HttpLimits(max_buffered_bytes=3_000_000)
        settings = {"sse.bufferSize": 2_000_000}
        async with serving(SsePlugin(), settings=settings, limits=limits) as node:
            streams = [await source(node, "/Sensor/a") for _ in range(3)]
            for stream in streams:
                await stream.until_ready()
            await write_much(node)
            backlog = node.server._port.backlog
            await until(lambda: backlog.cut_off >= 1)
            assert backlog.total <= 3_000_000
            left = len(node.server._port.connections)
            ends = await asyncio.gather(*(read_all(one) for one in streams))
            assert ends.count(list(range(WRITES))) == left == 3 - backlog.cut_off
            assert left >= 1

    asyncio.run(body())


async def read_all(stream: Source) -> list[object]:
    """What a stream tells before it is cut off."""
    try:
        return numbers(await read_until(stream, WRITES - 1))
    except (asyncio.IncompleteReadError, ConnectionResetError, ValueError):
        return []


async def small_source(node: TestNode) -> Source:
    """A stream for which the kernel takes little, at both ends."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    sock.setblocking(False)
    address = node.server.address
    await asyncio.get_running_loop().sock_connect(sock, (address.host, address.port))
    client = RawClient(*await asyncio.open_connection(sock=sock, limit=4_096))
    node.clients.append(client)
    head = b"accept: text/event-stream\r\n"
    client.send(b"GET /Sensor/ HTTP/1.1\r\nhost: localhost\r\n" + LOGIN + head + b"\r\n")
    status, _ = await client.head()
    assert status == 200
    for connection in node.server._port.connections:
        if connection.transport.get_extra_info("peername") == sock.getsockname():
            end = connection.transport.get_extra_info("socket")
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
    return Source(client)


async def change_at_random(node: TestNode, chance: random.Random) -> int:
    """Write, delete and publish; return how many messages were published."""
    published = 0
    for number in range(1_000):
        pad = "x" * chance.randrange(3_000)
        match chance.randrange(6):
            case 0:
                node.publish("Sensor/m", b'{"text": "%b"}' % pad.encode())
                published += 1
            case 1:
                await node.delete(f"Sensor/k{chance.randrange(20)}")
            case _:
                await node.put(f"Sensor/k{chance.randrange(20)}", {"n": number, "text": pad})
        if chance.random() < 0.1:
            await asyncio.sleep(chance.random() * 0.01)
    await node.put("Sensor/last", {"n": -1})
    return published


async def read_at_random(stream: Source, chance: random.Random, events: list[Event]) -> None:
    """Read until cancelled, with pauses."""
    while True:
        if chance.random() < 0.01 or len(events) == 50:
            await asyncio.sleep(0.3)
        events.append(await stream.next())


@pytest.mark.parametrize("seed", range(3))
def test_slow_reads_at_random_miss_no_change_and_count_what_is_lost(seed: int) -> None:
    """The events with a position are the log, in its order; messages come or are counted."""

    async def body() -> None:
        async with serving(SsePlugin(), settings={"sse.bufferSize": 65_536}) as node:
            stream = await small_source(node)
            await stream.until_ready()
            began = node.node.engine.position
            events: list[Event] = []
            reading = asyncio.create_task(read_at_random(stream, random.Random(seed), events))
            published = await change_at_random(node, random.Random(seed + 100))
            await until(lambda: any('"n":-1' in one.data for one in events))
            await until(
                lambda: all(one.state is State.LIVE for one in node.node.database.subscriptions)
            )
            node.publish("Sensor/m", b"the end")
            await until(lambda: "the end" in events[-1].data)
            reading.cancel()
            with node.node.engine.snapshot() as snapshot:
                logged = [entry.seq for entry in snapshot.entries(began, limit=10_000)]
            assert [int(one.id.rpartition(".")[2]) for one in events if one.id] == logged
            gaps = [one.envelope["messages"] for one in events if one.event == "gap"]
            came = [one for one in events if one.event == "message" and not one.id]
            assert gaps, "it was never set aside: the test tests nothing"
            assert len(came) + sum(map(int, map(str, gaps))) == published + 1

    asyncio.run(body())


READERS = 100
MESSAGES = 200


async def latencies(node: TestNode, *, with_stuck: bool) -> list[float]:
    """How long each message takes to all good readers, in seconds."""
    good = [await source(node, "/Sensor/") for _ in range(READERS)]
    for stream in good:
        await stream.until_ready()
    if with_stuck:
        await (await small_source(node)).until_ready()
    took = []
    for number in range(MESSAGES):
        began = time.perf_counter()
        node.publish("Sensor/m", b'{"n": %d, "text": "%b"}' % (number, b"x" * 2_000))
        events = await asyncio.gather(*(stream.next() for stream in good))
        took.append(time.perf_counter() - began)
        assert {one.envelope["value"]["n"] for one in events} == {number}  # type: ignore[index]
    return took


@pytest.mark.slow
def test_a_stuck_reader_does_not_change_the_latency_of_a_hundred_good_ones() -> None:
    """Compared with the same without it, so that the machine does not matter."""

    async def median(*, with_stuck: bool) -> float:
        async with serving(SsePlugin(), settings={"sse.bufferSize": 65_536}) as node:
            took = await latencies(node, with_stuck=with_stuck)
            if with_stuck:
                waiting = [
                    one.transport.get_write_buffer_size() for one in node.server._port.connections
                ]
                assert max(waiting) > 65_536, "it was never stuck: the test tests nothing"
            return statistics.median(took)

    async def body() -> None:
        alone = await median(with_stuck=False)
        assert await median(with_stuck=True) < 3 * alone

    asyncio.run(body())
