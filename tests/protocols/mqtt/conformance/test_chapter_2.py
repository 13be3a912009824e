"""Chapter 2: fixed headers, packet identifiers, properties."""

from __future__ import annotations

import pytest

from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.conformance.packets import (
    MALFORMED,
    PROTOCOL_ERROR,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    SUBACK,
    UNSUBACK,
    assert_ended,
    both_versions,
    messages,
    reader,
)
from tests.protocols.mqtt.harness import Harness, run

FLAGS = {4: 0, 5: 0, 6: 2, 7: 0, 8: 2, 10: 2, 12: 0, 14: 0}
"""Packet type of a client → its flags (table 2-2)."""


def body_of(kind: int, version: int) -> bytes:
    empty = client.properties(b"", version)
    return {
        8: b"\x00\x01" + empty + client.text("open/a") + b"\x00",
        10: b"\x00\x01" + empty + client.text("open/a"),
        12: b"",
        14: b"",
        15: b"\x19" + empty,
    }.get(kind, b"\x00\x01")


@both_versions
@pytest.mark.parametrize("kind", [4, 5, 6, 7, 8, 10, 12, 14, 15])
def test_reserved_flags_end_the_connection(version: int, kind: int) -> None:
    """[MQTT-2.1.3-1] and of each packet; 3.1.1 [MQTT-2.2.2-2] [MQTT-3.14.1-1]."""

    async def body() -> None:
        harness = Harness()
        for flags in range(16):
            if flags == FLAGS.get(kind, 0):
                continue
            peer = harness.connected(version)
            peer.send(client.packet(kind << 4 | flags, body_of(kind, version)))
            await harness.tick()
            assert_ended(peer, MALFORMED)

    run(body)


@both_versions
def test_flags_of_the_servers_packets_are_those_of_the_table(version: int) -> None:
    """[MQTT-2.1.3-1]; 3.1.1 [MQTT-2.2.2-1]: CONNACK, SUBACK, PUBACK, PUBREC, PUBCOMP and so on."""

    async def body() -> None:
        harness = Harness()
        peer = harness.peer(version)
        peer.send(
            client.connect(version),
            client.subscribe(("open/a", 2), version=version),
            client.unsubscribe("open/a", version=version, packet_id=2),
            client.publish("open/b", b"x", version=version, qos=1, packet_id=3),
            client.publish("open/b", b"x", version=version, qos=2, packet_id=4),
            client.PINGREQ,
        )
        await harness.tick()
        peer.send(client.pubrel(4))
        await harness.tick()
        found = {one.kind: one.flags for one in peer.take()}
        assert found == {2: 0, SUBACK: 0, UNSUBACK: 0, PUBACK: 0, PUBREC: 0, 13: 0, PUBCOMP: 0}

    run(body)


@both_versions
def test_a_message_of_qos_0_has_no_identifier(version: int) -> None:
    """[MQTT-2.2.1-2] [MQTT-3.3.1-2] [MQTT-4.3.1-1]; 3.1.1 [MQTT-2.3.1-5]: topic, then payload."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, version, options=2)
        harness.connected(version, "writer").send(client.publish("open/a", b"x", version=version))
        await harness.tick()
        (message,) = messages(peer)
        assert message.flags == 0
        assert message.body == client.text("open/a") + client.properties(b"", version) + b"x"

    run(body)


@both_versions
def test_an_identifier_of_zero_ends_the_connection(version: int) -> None:
    """[MQTT-2.2.1-3]; 3.1.1 [MQTT-2.3.1-1]."""

    async def body() -> None:
        harness = Harness()
        for frame in (
            client.subscribe("open/a", version=version, packet_id=0),
            client.unsubscribe("open/a", version=version, packet_id=0),
            client.publish("open/a", b"x", version=version, qos=1, packet_id=0),
            client.publish("open/a", b"x", version=version, qos=2, packet_id=0),
        ):
            peer = harness.connected(version)
            peer.send(frame)
            await harness.tick()
            assert_ended(peer, PROTOCOL_ERROR)

    run(body)


@both_versions
@pytest.mark.parametrize("packet_id", [1, 0x1234, 0xFFFF])
def test_answers_have_the_identifier_of_what_they_answer(version: int, packet_id: int) -> None:
    """[MQTT-2.2.1-5] [MQTT-2.2.1-6]; 3.1.1 [MQTT-2.3.1-6] [MQTT-2.3.1-7]."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(version)

        async def answer(frame: bytes) -> tuple[int, int]:
            peer.send(frame)
            await harness.tick()
            (one,) = peer.take()
            return one.kind, one.packet_id

        def publish(qos: int) -> bytes:
            return client.publish("open/b", version=version, qos=qos, packet_id=packet_id)

        subscribe = client.subscribe("open/a", version=version, packet_id=packet_id)
        unsubscribe = client.unsubscribe("open/a", version=version, packet_id=packet_id)
        assert await answer(subscribe) == (SUBACK, packet_id)
        assert await answer(unsubscribe) == (UNSUBACK, packet_id)
        assert await answer(publish(1)) == (PUBACK, packet_id)
        assert await answer(publish(2)) == (PUBREC, packet_id)
        assert await answer(client.pubrel(packet_id)) == (PUBCOMP, packet_id)

    run(body)


def test_packets_without_properties_say_so() -> None:
    """[MQTT-2.2.2-1]: SUBACK, UNSUBACK and PUBLISH have a Property Length of 0."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(
            client.subscribe("open/a", version=5),
            client.unsubscribe("open/b", version=5, packet_id=2),
            client.publish("open/a", b"x", version=5),
        )
        await harness.tick()
        found = {one.kind: one.body for one in peer.take()}
        assert found == {
            SUBACK: b"\x00\x01\x00\x00",
            UNSUBACK: b"\x00\x02\x00\x11",
            PUBLISH: client.text("open/a") + b"\x00x",
        }

    run(body)
