"""Retained messages, listed and cleared by topic filter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from lyredb.errors import InvalidInput, InvalidTopic
from lyredb.operations.broker import Broker
from lyredb.operations.broker_requests import Cleared, ClearRetained, ListRetained, RetainedList
from lyredb.plugins.context import Context
from lyredb.resources.requests import Write
from lyredb.security.principals import SUPER_USER
from lyredb.server.node import Node
from lyredb.storage.keys import decode_key
from lyredb.tables.schema import Schema

LONG = "long/" + "x" * 600


async def retain(node: Node, *topics: str) -> None:
    context = Context(SUPER_USER, "mqtt")
    for topic in topics:
        target = node.registry.topic(topic, "mqtt")
        write = Write(target, "put", payload=b"12345", content_type="text/plain", retain=True)
        await node.database.write(write, context)


def topics_of(told: RetainedList) -> list[str]:
    return [one.topic for one in told.messages]


def with_topics(
    folder: Path, topics: Sequence[str], body: Callable[[Node, Broker], Awaitable[None]]
) -> None:
    async def run() -> None:
        node = Node.open(folder / "data", Schema())
        try:
            await retain(node, *topics)
            await body(node, Broker(node.engine, node.writer))
        finally:
            await node.close()

    asyncio.run(run())


async def listed(broker: Broker, filter: str, limit: int = 100, after: str = "") -> RetainedList:
    told = await broker.perform(ListRetained(filter, limit, after))
    assert isinstance(told, RetainedList)
    return told


ALL = ["a", "a/b", "a/b/c", "ab", "b/b", LONG]


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("#", ALL),
        ("a/#", ["a", "a/b", "a/b/c"]),
        ("+/b", ["a/b", "b/b"]),
        ("a/b", ["a/b"]),
        ("a/+", ["a/b"]),
        (LONG, [LONG]),
        ("long/+", [LONG]),
        ("nothing", []),
        ("$SYS/#", []),
    ],
)
def test_a_filter_finds_what_it_would_bring_a_subscriber(
    tmp_path: Path, filter: str, found: list[str]
) -> None:
    async def body(_: Node, broker: Broker) -> None:
        assert topics_of(await listed(broker, filter)) == found

    with_topics(tmp_path, ALL, body)


def test_what_is_told_of_a_message(tmp_path: Path) -> None:
    async def body(node: Node, broker: Broker) -> None:
        (one,) = (await listed(broker, "a")).messages
        assert (one.size, one.qos, one.content_type, one.expires_ms) == (5, 1, "text/plain", 0)
        assert abs(one.since_ms - node.engine.now_ms()) < 60_000

    with_topics(tmp_path, ["a"], body)


def test_a_long_list_comes_in_parts(tmp_path: Path) -> None:
    async def body(_: Node, broker: Broker) -> None:
        found, after = [], ""
        while True:
            told = await listed(broker, "#", 2, after)
            found += topics_of(told)
            if not (after := told.after):
                break
        assert found == ALL

    with_topics(tmp_path, ALL, body)


def test_cleared_messages_are_gone_and_others_stay(tmp_path: Path) -> None:
    many = [f"many/{number:04}" for number in range(1200)]

    async def body(_: Node, broker: Broker) -> None:
        assert await broker.perform(ClearRetained("many/+")) == Cleared(1200)
        assert topics_of(await listed(broker, "#")) == ["a", "z"]
        assert await broker.perform(ClearRetained("many/+")) == Cleared(0)

    with_topics(tmp_path, ["a", *many, "z"], body)


def test_a_topic_of_any_length_is_told_to_be_gone(tmp_path: Path) -> None:
    """Its log entry names it, although its key is a short form of it."""

    async def body(node: Node, broker: Broker) -> None:
        assert await broker.perform(ClearRetained("#")) == Cleared(1)
        with node.engine.snapshot() as snapshot:
            entry = snapshot.entry(node.engine.position)
        assert entry is not None
        assert decode_key(entry.full_id or entry.key) == LONG

    with_topics(tmp_path, [LONG], body)


def test_filters_and_limits_that_are_none_are_refused(tmp_path: Path) -> None:
    async def body(_: Node, broker: Broker) -> None:
        with pytest.raises(InvalidTopic):
            await listed(broker, "a/#/b")
        with pytest.raises(InvalidInput, match="limit must be 1 to 10000, got 0"):
            await listed(broker, "#", 0)

    with_topics(tmp_path, [], body)
