"""Subscriptions that begin with a part of the log, from there to what is live."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from lyredb.errors import InvalidQuery
from lyredb.resources.replay import parse_beginning
from lyredb.resources.requests import SubscribeOptions
from lyredb.server.node import Node
from lyredb.storage.directory import RING_SEGMENTS
from lyredb.storage.settings import StorageSettings
from tests.protocols.node import until
from tests.resources.node_under_test import (
    CONTEXT,
    Collector,
    data_directory,
    open_node,
    write_of,
)

DEADLINE_S = 20
RING = StorageSettings(map_size=1 << 28, min_free_bytes=0, segment_bytes=1)
"""Each commit is a segment, so that few of them fill the ring."""

Body = Callable[[Node], Awaitable[None]]


def on_node(body: Body, storage: StorageSettings | None = None) -> None:
    async def run() -> None:
        with data_directory() as path:
            node = open_node(path, storage)
            async with asyncio.timeout(DEADLINE_S):
                await body(node)
            await node.close()

    asyncio.run(run())


async def write(node: Node, key: str, *values: int | None) -> None:
    for value in values:
        await node.database.write(write_of(node, key, value), CONTEXT)


def subscribe(
    node: Node, reader: Collector, topic_filter: str, options: SubscribeOptions, after: str = ""
) -> None:
    node.database.subscribe(topic_filter, reader, CONTEXT, options, after).start()


async def ready(reader: Collector) -> None:
    await until(lambda: bool(reader.ready))


def values(reader: Collector) -> list[object]:
    told = [message.value() for message in reader.messages]
    return [value["value"] if isinstance(value, dict) else value for value in told]


async def told(reader: Collector, count: int) -> list[object]:
    await until(lambda: len(reader.messages) >= count)
    return values(reader)


def test_a_log_that_does_not_reach_back_is_told_and_current_state_follows() -> None:
    async def body(node: Node) -> None:
        await write(node, "a", 1)
        await write(node, "b", *range(RING_SEGMENTS + 5))
        reader = Collector()
        subscribe(node, reader, "Sensor/#", replace(reader.options(), start_ms=0))
        await ready(reader)
        assert [(one.id, one.current) for one in reader.messages] == [("a", True), ("b", True)]
        assert len(reader.resets) == 1
        await write(node, "a", 2)
        assert (await told(reader, 3))[2:] == [2]

    on_node(body, RING)


def test_a_record_whose_changes_are_gone_is_told_as_it_is() -> None:
    """Its last changes are asked for and the log has none: silence would be wrong."""

    async def body(node: Node) -> None:
        await write(node, "a", 1)
        await write(node, "b", *range(RING_SEGMENTS + 5))
        reader, other = Collector(), Collector()
        subscribe(node, reader, "Sensor/a", replace(reader.options(), previous_count=3))
        subscribe(node, other, "Sensor/n", replace(other.options(), previous_count=3))
        await ready(reader)
        await ready(other)
        assert [(one.id, one.current) for one in reader.messages] == [("a", True)]
        assert len(reader.resets) == 1
        assert (other.messages, other.resets) == ([], [])

    on_node(body, RING)


def test_who_falls_behind_in_a_replay_or_after_it_gets_nothing_twice() -> None:
    """From then on it is a matter of positions, as for everybody."""

    async def body(node: Node) -> None:
        await write(node, "a", 1, 2, 3)
        reader = Collector()
        options = replace(reader.options(), start_ms=0)
        subscription = node.database.subscribe("Sensor/a", reader, CONTEXT, options)
        subscription.start()
        await ready(reader)
        reader.is_congested = True
        subscription.fall_behind()
        await write(node, "a", 4, 5)
        assert values(reader) == [1, 2, 3]
        reader.is_congested = False
        subscription.resume()
        await until(lambda: len(reader.messages) == 5)
        await write(node, "a", 6)
        assert await told(reader, 6) == [1, 2, 3, 4, 5, 6]

    on_node(body)


def test_a_replay_is_told_whatever_other_filters_have_brought() -> None:
    """Of one subscriber; what comes live still comes once."""

    async def body(node: Node) -> None:
        await write(node, "a", 1, 2)
        reader = Collector()
        subscribe(node, reader, "Sensor/#", reader.options())
        await ready(reader)
        reader.ready.clear()
        subscribe(node, reader, "Sensor/a", replace(reader.options(), start_ms=0))
        await ready(reader)
        await write(node, "a", 3)
        assert await told(reader, 4) == [2, 1, 2, 3]

    on_node(body)


def test_a_position_to_resume_after_wins() -> None:
    async def body(node: Node) -> None:
        await write(node, "a", 1, 2, 3)
        reader = Collector()
        after = node.database.position_token(node.engine.position - 1)
        subscribe(node, reader, "Sensor/a", replace(reader.options(), start_ms=0), after)
        await ready(reader)
        assert values(reader) == [3]

    on_node(body)


def test_messages_that_come_while_it_is_told_wait_for_their_turn() -> None:
    """A message that follows a write in time follows it in the replay too."""

    async def body(node: Node) -> None:
        await write(node, "a", 1)
        reader = Collector()
        subscribe(node, reader, "Sensor/a", replace(reader.options(), previous_count=1))
        node.database.publish("Sensor/a", b"m", CONTEXT)
        await ready(reader)
        assert await told(reader, 2) == [1, "m"]

    on_node(body)


@pytest.mark.parametrize("text", ["1700000000000", "1700000000000.75", "2023-11-14T22:13:20Z"])
def test_times_are_milliseconds_or_iso(text: str) -> None:
    assert parse_beginning([("startTime", text)]).start_ms == 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "start_ms"),
    [
        ("2023-11-14T23:13:20 01:00", 1_700_000_000_000),
        ("2023-11-14 23:13:20.000 0100", 1_700_000_000_000),
        ("2023-11-14 22:13", 1_699_999_980_000),
    ],
)
def test_a_zone_whose_plus_became_a_space_is_read(text: str, start_ms: int) -> None:
    """In a query ``+`` stands for a space, and few who write a time there think of it."""
    assert parse_beginning([("startTime", text)]).start_ms == start_ms


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("startTime", ""),
        ("startTime", "nan"),
        ("startTime", "1e9"),
        ("startTime", "-5"),
        ("startTime", "0001-01-01"),
        ("startTime", "9" * 5000),
        ("previousCount", "٣"),
        ("previousCount", "9" * 5000),
        ("previousCount", "-1"),
        ("omitCurrent", "2"),
    ],
)
def test_values_that_make_no_sense_are_refused_with_their_name(name: str, text: str) -> None:
    with pytest.raises(InvalidQuery, match=name) as refused:
        parse_beginning([(name, text)])
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize(
    ("name", "text"), [("startTime", "0"), ("previousCount", "3"), ("omitCurrent", "")]
)
def test_a_name_that_is_given_twice_is_refused(name: str, text: str) -> None:
    """Also with equal values: which one is meant is not for us to guess."""
    with pytest.raises(InvalidQuery, match=f"{name} is given twice"):
        parse_beginning([(name, text), (name, text)])
