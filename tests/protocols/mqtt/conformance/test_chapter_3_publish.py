"""Chapter 3.3 to 3.7: PUBLISH and its answers."""

from __future__ import annotations

import pytest

from lyredb.plugins.context import Context
from lyredb.security.principals import SUPER_USER
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.conformance.packets import (
    MALFORMED,
    PROTOCOL_ERROR,
    PUBACK,
    PUBREC,
    TOPIC_NAME_INVALID,
    assert_ended,
    both_versions,
    messages,
    payloads,
    reader,
)
from tests.protocols.mqtt.durable_world import World, on_world
from tests.protocols.mqtt.harness import Harness, Peer, run

AS_PUBLISHED = 0x08
CORRELATION = b"\x09\x00\x03\x00\xff\x01"
PUBACK_TABLE = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
"""Tables 3-4 and 3-5."""


async def retain(world: World, version: int, payload: bytes, qos: int, topic: str) -> None:
    """Somebody publishes with RETAIN, and it is on disk."""
    peer, _ = await world.connect(f"writer of {topic}", version, props=b"", clean=True)
    peer.send(client.publish(topic, payload, version=version, qos=qos, retain=True))
    await world.settle()
    peer.lose()


async def current(world: World, version: int, name: str) -> list[Received]:
    """What a new subscriber of everything gets."""
    peer, _ = await world.connect(name, version, props=b"", clean=True)
    await world.subscribe(peer, ("open/#", 2), version=version)
    await world.settle()
    found = messages(peer)
    peer.lose()
    await world.settle()
    return found


@both_versions
def test_each_qos_has_its_answer(version: int) -> None:
    """[MQTT-3.3.4-1]."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(version)
        answers: list[list[int]] = []
        for qos in range(3):
            writer.send(client.publish("open/a", version=version, qos=qos))
            await harness.tick()
            answers.append([one.kind for one in writer.take()])
        assert answers == [[], [PUBACK], [PUBREC]]

    run(body)


@both_versions
def test_a_message_of_qos_3_ends_the_connection(version: int) -> None:
    """[MQTT-3.3.1-4]: also on a topic that was published to, and nobody is told of it."""

    async def body() -> None:
        harness = Harness()
        watcher = reader(harness, version)
        writer = harness.connected(version)
        writer.send(
            client.publish("open/a", b"good", version=version),
            client.publish("open/a", b"wrong", version=version, qos=3),
        )
        await harness.tick()
        assert_ended(writer, MALFORMED)
        assert payloads(watcher) == [b"good"]

    run(body)


@both_versions
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("topic", ["open/+", "open/#", "#", "open/a+", "o#en"])
def test_a_topic_with_a_wildcard_ends_the_connection(version: int, qos: int, topic: str) -> None:
    """[MQTT-3.3.2-2] [MQTT-4.7.0-1]; 3.1.1 [MQTT-4.7.1-1]."""

    async def body() -> None:
        writer = Harness().connected(version)
        writer.send(client.publish(topic, version=version, qos=qos))
        assert_ended(writer, TOPIC_NAME_INVALID)

    run(body)


@both_versions
def test_an_empty_topic_ends_the_connection(version: int) -> None:
    """[MQTT-4.7.3-1], §3.3.2.1: without an alias that stands for one."""

    async def body() -> None:
        writer = Harness().connected(version)
        writer.send(client.publish("", version=version))
        assert_ended(writer, PROTOCOL_ERROR)

    run(body)


@both_versions
def test_new_subscribers_get_what_was_retained_last(version: int) -> None:
    """[MQTT-3.3.1-5]; 3.1.1 [MQTT-3.3.1-5] to -8: with RETAIN, its own QoS, one of each topic."""

    async def body(world: World) -> None:
        for payload, qos in ((b"1", 1), (b"2", 2), (b"3", 0)):
            await retain(world, version, payload, qos, "open/a")
            found = await current(world, version, f"reader of {qos}")
            assert [(one.payload, one.qos, one.retain) for one in found] == [(payload, qos, True)]
        await retain(world, version, b"x", 2, "open/b")
        found = await current(world, version, "last")
        assert sorted((one.topic, one.payload) for one in found) == [
            ("open/a", b"3"),
            ("open/b", b"x"),
        ]

    on_world(body)


@both_versions
def test_a_retained_message_outlives_its_session(version: int) -> None:
    """3.1.1 [MQTT-3.1.2-7]: of a clean session, and of one that was forgotten."""

    async def body(world: World) -> None:
        props = b"\x11\x00\x00\x0e\x10" if version == 5 else b""
        await retain(world, version, b"1", 1, "open/a")
        peer, _ = await world.connect("c", version, props=props)
        peer.send(client.publish("open/b", b"2", version=version, qos=1, retain=True))
        await world.settle()
        await world.sleep(peer)
        peer, _ = await world.connect("c", version, props=b"", clean=True)
        peer.lose()
        found = await current(world, version, "reader")
        assert sorted(one.payload for one in found) == [b"1", b"2"]

    on_world(body)


@both_versions
def test_an_empty_retained_message_is_told_and_removes(version: int) -> None:
    """[MQTT-3.3.1-6] [MQTT-3.3.1-7]; 3.1.1 [MQTT-3.3.1-10] [MQTT-3.3.1-11]: an open topic."""

    async def body(world: World) -> None:
        await retain(world, version, b"1", 1, "open/a")
        watcher, _ = await world.connect("watcher", version, props=b"", clean=True)
        await world.subscribe(watcher, ("open/a", 0), version=version)
        (kept,) = await world.packets(watcher, 1)
        assert kept.payload == b"1"
        await retain(world, version, b"", 1, "open/a")
        (told,) = await world.packets(watcher, 1)
        assert (told.topic, told.payload, told.retain) == ("open/a", b"", False)
        assert await current(world, version, "late") == []

    on_world(body)


@both_versions
def test_a_message_without_retain_changes_nothing_that_is_kept(version: int) -> None:
    """[MQTT-3.3.1-8]; 3.1.1 [MQTT-3.3.1-12]: neither replaces, nor removes, nor begins."""

    async def body(world: World) -> None:
        await retain(world, version, b"kept", 1, "open/a")
        writer, _ = await world.connect("writer", version, props=b"", clean=True)
        for qos in range(3):
            for topic in ("open/a", "open/b"):
                for payload in (b"passing", b""):
                    writer.send(client.publish(topic, payload, version=version, qos=qos))
        await world.settle()
        found = await current(world, version, "reader")
        assert [(one.topic, one.payload) for one in found] == [("open/a", b"kept")]

    on_world(body)


@pytest.mark.parametrize("retained", [False, True])
def test_retain_is_told_if_the_subscription_asks_for_it(retained: bool) -> None:
    """[MQTT-3.3.1-12] [MQTT-3.3.1-13]; 3.1.1 [MQTT-3.3.1-9], which never asks."""

    async def body(world: World) -> None:
        options = {"plain": 0, "asks": AS_PUBLISHED, "old": 0}
        watchers: dict[str, Peer] = {}
        for name, more in options.items():
            version = 4 if name == "old" else 5
            watchers[name], _ = await world.connect(name, version, props=b"", clean=True)
            await world.subscribe(watchers[name], ("open/a", 1 | more), version=version)
        writer, _ = await world.connect("writer", 5, props=b"", clean=True)
        writer.send(client.publish("open/a", b"x", version=5, qos=1, retain=retained))
        told = {name: await world.packets(peer, 1) for name, peer in watchers.items()}
        assert {name: [one.retain for one in found] for name, found in told.items()} == {
            "plain": [False],
            "asks": [retained],
            "old": [False],
        }

    on_world(body)


def test_properties_go_on_as_they_came() -> None:
    """[MQTT-3.3.2-4] [MQTT-3.3.2-15] to -18 [MQTT-3.3.2-20]: all of them, in their order."""

    async def body() -> None:
        harness = Harness()
        watchers = [reader(harness, 5, topic, 2) for topic in ("open/a", "#")]
        props = b"\x01\x01" + b"\x03" + client.text("text/x-mine; q=1")
        props += b"\x08" + client.text("re/ply") + CORRELATION
        for name, value in ("b", "1"), ("a", "2"), ("b", "0"), ("", ""):
            props += b"\x26" + client.text(name) + client.text(value)
        writer = harness.connected(5)
        for qos in range(3):
            writer.send(
                client.publish("open/a", "é".encode(), version=5, qos=qos, props=props),
                client.publish("open/a", b"\xff", version=5, props=b"\x01\x00"),
            )
            await harness.tick()
            for watcher in watchers:
                text, data = messages(watcher)
                assert (text.qos, text.payload, text.properties) == (qos, "é".encode(), props)
                assert (data.payload, data.properties) == (b"\xff", b"\x01\x00")

    run(body)


@pytest.mark.parametrize("topic", ["re/+", "re/#", "#"])
def test_a_response_topic_with_a_wildcard_ends_the_connection(topic: str) -> None:
    """[MQTT-3.3.2-14]."""

    async def body() -> None:
        writer = Harness().connected(5)
        writer.send(client.publish("open/a", version=5, props=b"\x08" + client.text(topic)))
        assert_ended(writer, PROTOCOL_ERROR)

    run(body)


def test_every_alias_up_to_the_maximum_is_taken() -> None:
    """[MQTT-3.3.2-12]: up to what the CONNACK says, all at a time; and the next one is not."""

    async def body() -> None:
        harness = Harness(topic_alias_maximum=20)
        watcher = reader(harness, 5)
        writer = harness.connected(5)

        def alias(number: int) -> bytes:
            return b"\x23" + number.to_bytes(2, "big")

        numbers = range(1, 21)
        writer.send(*[client.publish(f"open/{n}", version=5, props=alias(n)) for n in numbers])
        writer.send(*[client.publish("", version=5, props=alias(n)) for n in numbers])
        await harness.tick()
        assert [one.topic for one in messages(watcher)] == [f"open/{n}" for n in numbers] * 2
        writer.send(client.publish("open/x", version=5, props=alias(21)))
        assert_ended(writer, 0x94)

    run(body)


@pytest.mark.parametrize("maximum", [1, 2, 5])
def test_no_alias_is_above_the_clients_maximum(maximum: int) -> None:
    """[MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-8]: nor 0, whatever the setting allows."""

    async def body() -> None:
        harness = Harness(max_aliases_out=100)
        watcher = harness.connected(5, "w", props=b"\x22" + maximum.to_bytes(2, "big"))
        watcher.send(client.subscribe("open/#", version=5))
        watcher.take()
        writer = harness.connected(5, "writer")
        for _ in range(2):
            writer.send(*[client.publish(f"open/{n}", version=5) for n in range(10)])
            await harness.tick()
        used = {
            int.from_bytes(one.properties[1:3], "big")
            for one in messages(watcher)
            if one.properties[:1] == b"\x23"
        }
        assert used == set(range(1, maximum + 1))

    run(body)


@both_versions
def test_where_subscriptions_overlap_the_highest_qos_counts(version: int) -> None:
    """[MQTT-3.3.4-2]; 3.1.1 [MQTT-3.3.5-1]: one copy, whichever subscription was first."""

    async def body() -> None:
        harness = Harness()
        peers = []
        for name, order in ("up", (0, 1, 2)), ("down", (2, 1, 0)):
            peer = harness.connected(version, name)
            filters = ("open/a", "open/+", "#")
            peer.send(client.subscribe(*zip(filters, order, strict=True), version=version))
            peer.take()
            peers.append(peer)
        for qos in range(3):
            harness.database.publish("open/a", b"x", Context(SUPER_USER, "mqtt"), qos=qos)
            await harness.tick()
            assert [[one.qos for one in messages(peer)] for peer in peers] == [[qos], [qos]]

    run(body)


def test_a_subscription_identifier_of_a_client_ends_the_connection() -> None:
    """[MQTT-3.3.4-6]: also on a topic that was published to before."""

    async def body() -> None:
        writer = Harness().connected(5)
        writer.send(
            client.publish("open/a", version=5),
            client.publish("open/a", version=5, props=b"\x0b\x01"),
        )
        assert_ended(writer, PROTOCOL_ERROR)

    run(body)


@pytest.mark.parametrize("size", [5, 6, 7, 40, 80, 1_023, 1_024])
def test_an_acknowledgement_is_no_larger_than_the_client_takes(size: int) -> None:
    """[MQTT-3.4.2-2] [MQTT-3.5.2-2]: the reason comes, its sentence where it has room."""

    async def body() -> None:
        harness = Harness()
        limit = b"\x27" + size.to_bytes(4, "big")
        writer = harness.peer(5)
        writer.send(client.connect(5, "w", props=limit))
        if size < 40:
            assert writer.is_closed, "it cannot take a CONNACK"
            return
        writer.take()
        before = len(writer.transport.data)
        for qos in (1, 2):
            writer.send(client.publish("no/" + "x" * 900, version=5, qos=qos, packet_id=qos))
        await harness.tick()
        kinds = [(one.kind, one.reason) for one in writer.take()]
        assert kinds == [(PUBACK, 0x90), (PUBREC, 0x90)]
        assert len(writer.transport.data) - before <= 2 * size
        assert (b"\x1f" in writer.transport.data[before:]) == (size >= 1_024)

    run(body)


@pytest.mark.parametrize(
    ("first", "allowed"),
    [
        (0x40, PUBACK_TABLE),
        (0x50, PUBACK_TABLE),
        (0x62, {0x00, 0x92}),
        (0x70, {0x00, 0x92}),
        (0xE0, {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, *range(0x93, 0x9A)}),
    ],
)
def test_reasons_that_there_are_not_end_the_connection(first: int, allowed: set[int]) -> None:
    """[MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.6.2-1] [MQTT-3.7.2-1] [MQTT-3.14.2-1]."""

    async def body() -> None:
        harness = Harness()
        for reason in range(256):
            peer = harness.connected(5)
            head = b"" if first == 0xE0 else b"\x00\x07"
            peer.send(client.packet(first, head + bytes([reason])))
            await harness.tick()
            ends = [one.reason for one in peer.take() if one.kind == 14]
            assert ends == ([] if reason in allowed else [PROTOCOL_ERROR])
            peer.lose()

    run(body)
