"""Replays over MQTT: user properties for v5, topics of their own for all versions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast
from urllib.parse import quote

import pytest

from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.service import Service
from lyredb.resources.requests import Write
from lyredb.security.authenticator import Authenticator
from lyredb.server.node import Node
from lyredb.sessions.claims_client import Claims
from lyredb.sessions.store import Sessions
from lyredb.tables.schema import Schema
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.harness import Harness, Peer
from tests.resources.node_under_test import CONTEXT, data_directory, open_node, write_of

DEADLINE_S = 10
ONLY_NEW, NEVER = 0x10, 0x20

Body = Callable[[Harness, Node], Awaitable[None]]


def on_node(body: Body, *, open_topics: bool = False) -> None:
    """Run with connections to a real node."""

    async def run() -> None:
        with data_directory() as path:
            node = Node.open(path, Schema(), open_topics=True) if open_topics else open_node(path)
            harness = Harness()
            harness.service = Service(
                node.database,
                cast(Authenticator, harness.authenticator),
                Limits(),
                Claims(harness.streams.worker(2)),
                Sessions(
                    node.database.session_store,
                    call_later=harness.loop.call_later,
                    call_soon=harness.loop.call_soon,
                ),
                loop=harness.loop,
            )
            async with asyncio.timeout(DEADLINE_S):
                await body(harness, node)
            await node.close()

    asyncio.run(run())


async def write(node: Node, key: str, *values: int | None) -> None:
    for value in values:
        await node.database.write(write_of(node, key, value), CONTEXT)


async def take(peer: Peer, count: int) -> list[Received]:
    """The next packets; there may be no more than these."""
    found = peer.take()
    while len(found) < count:
        await asyncio.sleep(0)
        found += peer.take()
    for _ in range(5):
        await asyncio.sleep(0)
    found += peer.take()
    assert len(found) == count, [one.topic for one in found if one.kind == 3]
    return found


def user(*pairs: tuple[str, str]) -> bytes:
    return b"".join(b"\x26" + client.text(name) + client.text(value) for name, value in pairs)


def ask(path: str) -> str:
    """The filter of a query."""
    return f"$query/{quote(path, safe='')}/#"


def told(packets: list[Received]) -> list[tuple[str, bytes, bool]]:
    return [(one.topic, one.payload, one.retain) for one in packets if one.kind == 3]


def record(key: str, value: int) -> bytes:
    return b'{"id":"%b","value":%d}' % (key.encode(), value)


@pytest.mark.parametrize(
    ("pairs", "values"),
    [
        ((("startTime", "0"),), [1, 2, 3]),
        ((("startTime", "1970-01-01T00:00:00Z"),), [1, 2, 3]),
        ((("previousCount", "2"),), [2, 3]),
        ((("startTime", "0"), ("previousCount", "1")), [3]),
        ((("omitCurrent", "true"),), []),
        ((("mine", "startTime"),), None),
    ],
)
def test_user_properties_of_subscribe_say_where_it_begins(
    pairs: tuple[tuple[str, str], ...], values: list[int] | None
) -> None:
    """What is replayed comes behind the SUBACK, without RETAIN; live messages follow."""

    async def body(harness: Harness, node: Node) -> None:
        await write(node, "a", 1, 2, 3)
        peer = harness.connected(5)
        peer.send(client.subscribe("Sensor/a", version=5, props=user(*pairs)))
        expected = [3] if values is None else values
        suback, *packets = await take(peer, 1 + len(expected))
        assert (suback.kind, suback.codes) == (9, [0])
        assert told(packets) == [
            ("Sensor/a", record("a", value), values is None) for value in expected
        ]
        await write(node, "a", 4)
        assert told(await take(peer, 1)) == [("Sensor/a", record("a", 4), False)]

    on_node(body)


@pytest.mark.parametrize("version", [4, 5])
def test_a_query_is_delivered_under_its_own_topic(version: int) -> None:
    async def body(harness: Harness, node: Node) -> None:
        await write(node, "x/a", 1, 2)
        await write(node, "b", 7)
        peer = harness.connected(version)
        asked = ask("Sensor/x/?startTime=0")
        peer.send(client.subscribe((asked, 1), version=version))
        suback, *packets = await take(peer, 3)
        topic = f"{asked[:-2]}/x/a"
        assert (suback.kind, suback.codes) == (9, [1])
        assert told(packets) == [(topic, record("x/a", value), False) for value in (1, 2)]
        assert [one.qos for one in packets] == [1, 1]
        await write(node, "b", 8)
        await write(node, "x/c", 9)
        assert told(await take(peer, 1)) == [(f"{asked[:-2]}/x/c", record("x/c", 9), False)]

    on_node(body)


@pytest.mark.parametrize("path", ["/Sensor/", "Sensor", "Sensor/a", "/Sensor/a?omitCurrent=false"])
def test_a_query_without_a_beginning_has_current_state(path: str) -> None:
    """With RETAIN; the path is one of SSE, its leading slash may be left out."""

    async def body(harness: Harness, node: Node) -> None:
        await write(node, "a", 1)
        peer = harness.connected()
        peer.send(client.subscribe(ask(path)))
        _, state = await take(peer, 2)
        assert told([state]) == [(f"{ask(path)[:-2]}/a", record("a", 1), True)]

    on_node(body)


def test_a_query_comes_besides_other_subscriptions() -> None:
    """Each brings what it asks for: under its own topic nothing would be missed or known."""

    async def body(harness: Harness, node: Node) -> None:
        await write(node, "a", 1, 2)
        peer = harness.connected()
        asked = ask("Sensor/a?previousCount=2")
        peer.send(client.subscribe("Sensor/#", asked))
        _, *packets = await take(peer, 4)
        assert sorted(told(packets)) == [
            (f"{asked[:-2]}/a", record("a", 1), False),
            (f"{asked[:-2]}/a", record("a", 2), False),
            ("Sensor/a", record("a", 2), True),
        ]
        await write(node, "a", 3)
        assert len(await take(peer, 2)) == 2
        peer.send(client.unsubscribe(asked))
        await write(node, "a", 4)
        unsuback, last = await take(peer, 2)
        assert unsuback.kind == 11
        assert last.topic == "Sensor/a"

    on_node(body)


def test_messages_to_a_topic_of_the_table_itself_have_no_id() -> None:
    async def body(harness: Harness, node: Node) -> None:
        peer = harness.connected()
        asked = ask("Sensor/?startTime=0")
        peer.send(client.subscribe(asked))
        await take(peer, 1)
        node.database.publish("Sensor", b"hello", CONTEXT)
        node.database.publish("Sensor/a", b"to a", CONTEXT)
        assert told(await take(peer, 2)) == [
            (asked[:-2], b"hello", False),
            (f"{asked[:-2]}/a", b"to a", False),
        ]

    on_node(body)


def test_the_id_of_an_open_topic_is_all_of_it() -> None:
    async def body(harness: Harness, node: Node) -> None:
        peer = harness.connected()
        target = node.database.resolve("home/kitchen", CONTEXT)
        for payload in (b"1", b"2"):
            await node.database.write(Write(target, "put", payload=payload), CONTEXT)
        asked = ask("home/?startTime=0")
        peer.send(client.subscribe(asked))
        _, *packets = await take(peer, 3)
        assert told(packets) == [
            (f"{asked[:-2]}/home/kitchen", payload, False) for payload in (b"1", b"2")
        ]

    on_node(body, open_topics=True)


@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        (ask("Sensor/?value=1"), 0x80),
        (ask("Sensor/?startTime=yesterday"), 0x80),
        (ask("Sensor/?startTime=0&previousCount=3"), 0x80),
        (ask("Sensor/?previousCount=1001"), 0x80),
        (ask("Nowhere/"), 0x8F),
        ("$query/%FF/#", 0x80),
        ("$query/%ZZ/#", 0x8F),
        ("$query/Sensor%/#", 0x8F),
        (ask("Sensor/?startTime=0&startTime=1"), 0x80),
        (ask("Sensor/?position=&position=x"), 0x80),
        ("$query/Sensor/+", 0x8F),
        ("$query/Sensor", 0x8F),
        ("$query/#", 0x8F),
        ("$query//#", 0x8F),
        ("$query/Sensor/a/#", 0x8F),
    ],
)
def test_what_no_query_can_be_is_refused_with_a_reason(topic_filter: str, reason: int) -> None:
    """Conditions too, rather than ignored: who asks for some records must not get all."""

    async def body(harness: Harness, node: Node) -> None:
        old, new = harness.connected(4, "old"), harness.connected(5, "new")
        old.send(client.subscribe(topic_filter, "Sensor/a"))
        new.send(client.subscribe(topic_filter, "Sensor/a", version=5))
        (answer,) = await take(old, 1)
        assert answer.codes == [0x80, 0]
        (answer,) = await take(new, 1)
        assert answer.codes == [reason, 0]
        assert answer.properties[:1] == b"\x1f"

    on_node(body)


@pytest.mark.parametrize(
    ("topic_filter", "pairs"),
    [
        ("Sensor/#", (("startTime", "0"), ("previousCount", "3"))),
        ("Sensor/a", (("previousCount", "0"),)),
        ("Sensor/a", (("omitCurrent", "perhaps"),)),
        ("Sensor/a", (("omitCurrent", "1"), ("omitCurrent", "1"))),
        ("$share/g/Sensor/a", (("startTime", "0"),)),
    ],
)
def test_a_beginning_that_makes_no_sense_is_refused(
    topic_filter: str, pairs: tuple[tuple[str, str], ...]
) -> None:
    async def body(harness: Harness, node: Node) -> None:
        peer = harness.connected(5)
        peer.send(client.subscribe(topic_filter, version=5, props=user(*pairs)))
        (answer,) = await take(peer, 1)
        assert answer.codes[0] >= 0x80
        assert pairs[0][0].encode() in answer.properties or b"hared" in answer.properties

    on_node(body)


def test_to_subscribe_again_replays_again() -> None:
    """Retain Handling is about current state: what is asked of the log comes each time."""

    async def body(harness: Harness, node: Node) -> None:
        await write(node, "a", 1, 2)
        peer = harness.connected(5)
        wish = client.subscribe(("Sensor/a", NEVER), version=5, props=user(("previousCount", "2")))
        for _ in range(2):
            peer.send(wish)
            _, *packets = await take(peer, 3)
            assert [one.payload for one in packets] == [record("a", 1), record("a", 2)]
        await write(node, "a", 3)
        assert len(await take(peer, 1)) == 1

    on_node(body)


async def durable(harness: Harness, present: int, missed: int = 0) -> tuple[Peer, list[Received]]:
    """A client whose session outlives its connection, let in, and what it had missed."""
    peer = harness.peer(5)
    lasts = b"\x11" + (600).to_bytes(4, "big")
    peer.send(client.connect(5, "lasts", clean=False, props=lasts))
    connack, *packets = await take(peer, 1 + missed)
    assert (connack.kind, connack.body[0], connack.body[1]) == (2, present, 0)
    return peer, packets


def test_a_query_of_a_session_that_lasts_ends_with_the_connection() -> None:
    """It would begin anew each time; the other subscriptions go on where they were."""

    async def body(harness: Harness, node: Node) -> None:
        await write(node, "a", 1, 2)
        peer, _ = await durable(harness, 0)
        asked = ask("Sensor/a?previousCount=2")
        peer.send(client.subscribe((asked, 1), ("Sensor/b", 1), version=5))
        suback, *packets = await take(peer, 3)
        assert suback.codes == [1, 1]
        assert [(one.topic, one.payload, one.qos) for one in packets] == [
            (f"{asked[:-2]}/a", record("a", value), 1) for value in (1, 2)
        ]
        peer.send(*[client.puback(one.packet_id) for one in packets])
        peer.lose()
        await write(node, "a", 3)
        await write(node, "b", 4)
        _, (missed,) = await durable(harness, 1, 1)
        assert (missed.topic, missed.payload) == ("Sensor/b", record("b", 4))

    on_node(body)


def test_a_session_that_sleeps_after_a_replay_goes_on_behind_it() -> None:
    """What was replayed and acknowledged does not come again, nor current state for it."""

    async def body(harness: Harness, node: Node) -> None:
        await write(node, "a", 1, 2)
        peer, _ = await durable(harness, 0)
        wish = client.subscribe(("Sensor/a", 1), version=5, props=user(("startTime", "0")))
        peer.send(wish)
        _, *packets = await take(peer, 3)
        assert [one.payload for one in packets] == [record("a", 1), record("a", 2)]
        peer.send(*[client.puback(one.packet_id) for one in packets])
        peer.lose()
        await write(node, "a", 3)
        _, (missed,) = await durable(harness, 1, 1)
        assert (missed.payload, missed.retain) == (record("a", 3), False)

    on_node(body)
