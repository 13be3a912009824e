"""A client that reads slowly keeps its stream, and gets every change once, in order."""

from __future__ import annotations

import asyncio

from lyredb.protocols.http import HttpLimits
from lyredb.protocols.sse.plugin import SsePlugin
from tests.protocols.node import TestNode, serving, until
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
