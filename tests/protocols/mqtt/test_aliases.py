"""Topic aliases from a client (MQTT 5 §3.3.2.3.4)."""

from __future__ import annotations

import pytest

from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run


def alias(number: int) -> bytes:
    return b"\x23" + number.to_bytes(2, "big")


def reader(harness: Harness) -> Peer:
    peer = harness.connected(5, "reader")
    peer.send(client.subscribe(("open/#", 1), version=5))
    peer.take()
    return peer


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_an_alias_stands_for_its_topic_until_it_is_given_another(qos: int) -> None:
    """Readers see topics and no aliases; other properties go on [MQTT-3.3.2-17]."""

    async def body() -> None:
        harness = Harness()
        hears, writer = reader(harness), harness.connected(5)
        user = b"\x26" + client.text("k") + client.text("v")
        for number, (topic, payload) in enumerate(
            [("open/a", b"1"), ("", b"2"), ("open/b", b"3"), ("", b"4"), ("open/a", b"5")], 1
        ):
            props = user + alias(7) if number < 5 else b""
            writer.send(
                client.publish(topic, payload, version=5, qos=qos, packet_id=number, props=props)
            )
        await harness.tick()
        told = hears.take()
        assert [(packet.topic, packet.payload) for packet in told] == [
            ("open/a", b"1"),
            ("open/a", b"2"),
            ("open/b", b"3"),
            ("open/b", b"4"),
            ("open/a", b"5"),
        ]
        assert [packet.properties for packet in told] == [user] * 4 + [b""]
        assert not writer.is_closed

    run(body)


def test_a_retained_message_may_come_by_its_alias() -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(5)
        writer.send(client.publish("open/a", b"1", version=5, props=alias(1)))
        writer.send(client.publish("", b"2", version=5, retain=True, props=alias(1)))
        (submitted,) = harness.database.waiting
        assert (submitted.write.target.topic, submitted.write.payload) == ("open/a", b"2")
        assert submitted.write.properties == b""

    run(body)


def test_a_message_that_is_not_told_again_still_gives_the_alias_its_topic() -> None:
    """The client counts on it whatever became of the message."""

    async def body() -> None:
        harness = Harness()
        hears, writer = reader(harness), harness.connected(5)
        writer.send(client.publish("open/a", b"1", version=5, qos=2, packet_id=1))
        writer.send(
            client.publish("open/a", b"1", version=5, qos=2, packet_id=1, dup=True, props=alias(2)),
            client.publish("", b"2", version=5, props=alias(2)),
        )
        await harness.tick()
        assert [packet.payload for packet in hears.take()] == [b"1", b"2"]

    run(body)


@pytest.mark.parametrize(
    ("topic", "number", "most", "reason"),
    [("", 3, 5, 0x82), ("open/a", 6, 5, 0x94), ("open/a", 1, 0, 0x94), ("open/a", 0, 5, 0x94)],
)
def test_a_wrong_alias_ends_the_connection(topic: str, number: int, most: int, reason: int) -> None:
    """[MQTT-3.3.2-8] [MQTT-3.3.2-9]; without a topic an alias has to have one already."""

    async def body() -> None:
        harness = Harness(topic_alias_maximum=most)
        writer = harness.connected(5)
        writer.send(client.publish(topic, b"1", version=5, props=alias(number)))
        (ended,) = writer.take()
        assert (ended.kind, ended.reason) == (14, reason)

    run(body)


def test_aliases_end_with_their_connection() -> None:
    """[MQTT-3.3.2-7]."""

    async def body() -> None:
        harness = Harness()
        first = harness.connected(5)
        first.send(client.publish("open/a", b"1", version=5, props=alias(1)))
        first.lose()
        second = harness.connected(5)
        second.send(client.publish("", b"2", version=5, props=alias(1)))
        (ended,) = second.take()
        assert (ended.kind, ended.reason) == (14, 0x82)

    run(body)
