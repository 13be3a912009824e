"""Chapter 4: delivery, order, topics, shared subscriptions, flow control."""

from __future__ import annotations

import unicodedata

import pytest

from lyredb.plugins.context import Context
from lyredb.security.principals import SUPER_USER
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.conformance.packets import (
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    SUBACK,
    UNSUBACK,
    both_versions,
    messages,
    payloads,
    reader,
)
from tests.protocols.mqtt.durable_world import LASTS, SOMEBODY, World, on_world
from tests.protocols.mqtt.harness import Harness, run
from tests.protocols.mqtt.test_shared import Shared

DUP = 0x08
CONTEXT = Context(SUPER_USER, "mqtt")


def no(first: int, packet_id: int, reason: int = 0x80) -> bytes:
    """An acknowledgement that refuses."""
    return client.packet(first, packet_id.to_bytes(2, "big") + bytes([reason]))


@both_versions
@pytest.mark.parametrize("qos", [1, 2])
def test_a_first_try_has_no_dup_and_an_identifier_of_its_own(version: int, qos: int) -> None:
    """[MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-4.3.3-2]; 3.1.1 [MQTT-4.3.2-1]."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, version, options=2)
        for number in range(20):
            harness.database.publish("open/a", b"%d" % number, CONTEXT, qos=qos)
        await harness.tick()
        found = messages(peer)
        assert [one.payload for one in found] == [b"%d" % number for number in range(20)]
        assert {one.flags for one in found} == {qos << 1}
        assert len({one.packet_id for one in found}) == 20

    run(body)


@both_versions
def test_after_its_puback_an_identifier_means_a_new_message(version: int) -> None:
    """[MQTT-4.3.2-5]; 3.1.1 [MQTT-4.3.2-2]: whatever DUP says."""

    async def body() -> None:
        harness = Harness()
        watcher = reader(harness, version)
        writer = harness.connected(version, "writer")
        for number in range(3):
            payload, dup = b"%d" % number, bool(number)
            frame = client.publish("open/a", payload, version=version, qos=1, dup=dup)
            writer.send(frame)
            await harness.tick()
            assert [(one.kind, one.packet_id) for one in writer.take()] == [(PUBACK, 1)]
        assert payloads(watcher) == [b"0", b"1", b"2"]

    run(body)


@both_versions
def test_nothing_is_sent_again_on_the_same_connection(version: int) -> None:
    """[MQTT-4.4.0-1]: however long its answer takes, and whatever comes meanwhile."""

    async def body(world: World) -> None:
        props = LASTS if version == 5 else b""
        peer, _ = await world.connect(version=version, props=props)
        await world.subscribe(peer, ("open/#", 2), version=version)
        await world.publish("open/a", b"1")
        await world.publish("open/a", b"2", qos=2)
        one, two = await world.packets(peer, 2)
        assert (one.flags & DUP, two.flags & DUP) == (0, 0)
        for _ in range(5):
            await world.nothing_more(peer)
        peer.send(client.subscribe(("open/b", 2), version=version, packet_id=2))
        (suback,) = await world.packets(peer, 1)
        assert suback.kind == SUBACK
        await world.nothing_more(peer)

    on_world(body)


@pytest.mark.parametrize("reason", [0x80, 0x97])
def test_what_a_client_refuses_does_not_come_again(reason: int) -> None:
    """[MQTT-4.4.0-2]: not when its session goes on either."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 2))
        await world.publish("open/a", b"1")
        await world.publish("open/a", b"2", qos=2)
        one, two = await world.packets(peer, 2)
        peer.send(no(0x40, one.packet_id, reason), no(0x50, two.packet_id, reason))
        await world.nothing_more(peer)
        await world.sleep(peer)
        peer, connack = await world.connect()
        assert connack.body[0] == 1
        await world.nothing_more(peer)

    on_world(body)


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_sent_does_not_expire(qos: int) -> None:
    """[MQTT-4.3.3-7]: it comes again after its time, since its client may have it."""

    async def body(world: World) -> None:
        peer, _ = await world.connect()
        await world.subscribe(peer, ("open/#", 2))
        engine = world.node.engine
        end_ms = engine.now_ms() + 30
        world.node.database.publish("open/a", b"x", SOMEBODY, qos=qos, expires_ms=end_ms)
        (before,) = await world.packets(peer, 1)
        await world.sleep(peer)
        while engine.now_ms() <= end_ms:
            await world.settle()
        peer, _ = await world.connect()
        (again,) = await world.packets(peer, 1)
        assert (again.kind, again.packet_id, again.payload) == (PUBLISH, before.packet_id, b"x")
        assert again.flags & DUP

    on_world(body)


def test_a_message_that_has_expired_goes_through_its_steps() -> None:
    """[MQTT-4.3.3-13]: with an interval of 0 it has at once."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        expired = b"\x02\x00\x00\x00\x00"
        writer.send(client.publish("open/a", b"x", version=5, qos=2, props=expired))
        await harness.tick()
        assert [(one.kind, one.reason) for one in writer.take()] == [(PUBREC, 0)]
        writer.send(client.pubrel(1))
        await harness.tick()
        assert [(one.kind, one.reason) for one in writer.take()] == [(PUBCOMP, 0)]

    run(body)


@both_versions
@pytest.mark.parametrize(
    ("topic_filter", "topics"),
    [
        ("open/a/#", ["open/a", "open/a/b", "open/a/b/c", "open/a/"]),
        ("open/+", ["open/a", "open/", "open/A"]),
        ("open/+/b", ["open/a/b", "open//b"]),
        ("+/a", ["open/a"]),
        ("open/+/#", ["open/a", "open/a/b", "open/a/b/c", "open/a/", "open/", "open//b", "open/A"]),
        ("open/a/", ["open/a/"]),
        ("open//b", ["open//b"]),
    ],
)
def test_a_filter_brings_the_topics_that_it_matches(
    version: int, topic_filter: str, topics: list[str]
) -> None:
    """[MQTT-3.3.2-3], §4.7.1: and no others."""

    async def body() -> None:
        harness = Harness()
        watcher = reader(harness, version, topic_filter)
        writer = harness.connected(version, "writer")
        known = [
            "open/a",
            "open/a/b",
            "open/a/b/c",
            "open/a/",
            "open/",
            "open//b",
            "open/A",
            "open",
        ]
        writer.send(*[client.publish(topic, version=version) for topic in known])
        await harness.tick()
        assert {one.topic for one in messages(watcher)} == set(topics)

    run(body)


@both_versions
@pytest.mark.parametrize(
    "wrong", ["", "open/#/a", "open/a#", "#/", "open/a+", "+open/a", "open/++", "open/#+", "##"]
)
def test_a_filter_that_breaks_the_rules_is_refused(version: int, wrong: str) -> None:
    """[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]; 3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3]."""

    async def body() -> None:
        peer = Harness().connected(version)
        peer.send(client.subscribe(wrong, version=version))
        (suback,) = peer.take()
        assert suback.codes == [0x8F if version == 5 else 0x80]

    run(body)


@both_versions
def test_topics_are_compared_byte_by_byte(version: int) -> None:
    """[MQTT-4.7.3-4]: no case, no spaces and no forms of Unicode are folded."""

    async def body() -> None:
        harness = Harness()
        composed = unicodedata.normalize("NFC", "open/é")
        names = ["open/a", "open/A", "open/ a", "open/a ", composed]
        names += [
            unicodedata.normalize("NFD", composed),
            "open/\u212b",
            "open/\u00c5",
            "open/\ufb01",
        ]
        watchers = {name: reader(harness, version, name) for name in names}
        writer = harness.connected(version, "writer")
        for name in names:
            writer.send(client.publish(name, name.encode(), version=version))
        await harness.tick()
        for name, watcher in watchers.items():
            assert [(one.topic, one.payload) for one in messages(watcher)] == [
                (name, name.encode())
            ]

    run(body)


@pytest.mark.parametrize("published", [0, 1, 2])
def test_each_member_gets_the_qos_that_it_was_granted(published: int) -> None:
    """[MQTT-4.8.2-3]."""

    async def body() -> None:
        harness = Shared()
        members = [await harness.member(f"m{qos}", "$share/g/open/a", qos) for qos in range(3)]
        writer = harness.connected(5, "writer")
        for number in range(6):
            frame = client.publish("open/a", b"x", version=5, qos=published, packet_id=number + 1)
            writer.send(frame)
            await harness.tick()
        told = [[one.qos for one in messages(member)] for member in members]
        assert told == [[min(qos, published)] * 2 for qos in range(3)]

    run(body)


@pytest.mark.parametrize("qos", [1, 2])
def test_what_a_member_refuses_goes_to_nobody_else(qos: int) -> None:
    """[MQTT-4.8.2-6]: not when it leaves either."""

    async def body() -> None:
        harness = Shared()
        one, two = [await harness.member(name, "$share/g/open/a", 2) for name in ("a", "b")]
        writer = harness.connected(5, "writer")
        writer.send(client.publish("open/a", b"x", version=5, qos=qos, packet_id=1))
        await harness.tick()
        (message,) = messages(one)
        one.send(no(0x40 if qos == 1 else 0x50, message.packet_id))
        await harness.tick()
        one.lose()
        await harness.tick()
        assert messages(two) == []

    run(body)


@both_versions
@pytest.mark.parametrize("window", [1, 3])
def test_a_full_window_holds_messages_up_and_nothing_else(version: int, window: int) -> None:
    """[MQTT-4.9.0-1] to -3 [MQTT-3.3.4-9] [MQTT-3.3.4-10]; 3.1.1 by ``mqtt.maxInflight``."""

    async def body() -> None:
        harness = Harness(max_inflight=window)
        props = b"\x21" + window.to_bytes(2, "big") if version == 5 else b""
        peer = harness.connected(version, "reader", props=props)
        peer.send(client.subscribe(("open/#", 2), version=version))
        peer.take()
        for number in range(window + 2):
            harness.database.publish("open/a", b"%d" % number, CONTEXT, qos=1 + number % 2)
        await harness.tick()
        sent = messages(peer)
        assert len(sent) == window
        peer.send(
            client.PINGREQ,
            client.subscribe(("open/b", 2), version=version, packet_id=2),
            client.unsubscribe("open/b", version=version, packet_id=3),
            client.publish("elsewhere", version=version),
            client.publish("open/c", version=version, qos=1, packet_id=4),
        )
        await harness.tick()
        kinds = {one.kind for one in peer.take()}
        assert kinds == {PINGRESP, SUBACK, UNSUBACK, PUBACK}
        peer.send(client.puback(sent[0].packet_id))
        await harness.tick()
        assert len(messages(peer)) == 1

    run(body)
