"""Chapter 3.8 to 3.13: SUBSCRIBE, UNSUBSCRIBE, PINGREQ and their answers."""

from __future__ import annotations

import pytest

from lyredb.plugins.context import Context
from lyredb.security.principals import SUPER_USER
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.conformance.packets import (
    MALFORMED,
    PINGRESP,
    PROTOCOL_ERROR,
    PUBLISH,
    PUBREL,
    SUBACK,
    UNSUBACK,
    assert_ended,
    both_versions,
    messages,
    payloads,
    reader,
)
from tests.protocols.mqtt.harness import Harness, run


@both_versions
@pytest.mark.parametrize("first", [0x82, 0xA2])
def test_a_list_of_filters_without_any_ends_the_connection(version: int, first: int) -> None:
    """[MQTT-3.8.3-2] [MQTT-3.10.3-2]; 3.1.1 [MQTT-3.8.3-3] [MQTT-3.10.3-2]."""

    async def body() -> None:
        peer = Harness().connected(version)
        peer.send(client.packet(first, b"\x00\x01" + client.properties(b"", version)))
        assert_ended(peer, PROTOCOL_ERROR)

    run(body)


@both_versions
def test_options_that_there_are_not_end_the_connection(version: int) -> None:
    """[MQTT-3.8.3-5], §3.8.3.1; 3.1.1 [MQTT-3.8.3-4]: each of the 256 bytes."""

    async def body() -> None:
        harness = Harness()
        for options in range(256):
            qos, handling = options & 3, options >> 4 & 3
            is_reserved = bool(options & (0xC0 if version == 5 else 0xFC))
            peer = harness.connected(version)
            peer.send(client.subscribe(("open/a", options), version=version))
            if is_reserved:
                assert_ended(peer, MALFORMED)
            elif qos == 3 or handling == 3:
                assert_ended(peer, PROTOCOL_ERROR)
            else:
                assert [one.codes for one in peer.take()] == [[qos]]
            peer.lose()

    run(body)


@both_versions
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
def test_a_message_has_the_lower_qos(version: int, granted: int, published: int) -> None:
    """[MQTT-3.8.4-8]; 3.1.1 [MQTT-3.8.4-6]."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, version, options=granted)
        context = Context(SUPER_USER, "mqtt")
        harness.database.publish("open/a", b"x", context, qos=published)
        await harness.tick()
        (message,) = messages(peer)
        assert message.qos == min(granted, published)

    run(body)


def test_a_client_that_wants_no_sentences_gets_none_in_a_suback() -> None:
    """[MQTT-3.1.2-29]: nor in an UNSUBACK; the reasons are there."""

    async def body() -> None:
        peer = Harness().connected(5, props=b"\x17\x00")
        peer.send(
            client.subscribe("nowhere/a", "open/#/a", version=5),
            client.unsubscribe("nowhere/a", version=5, packet_id=2),
        )
        first, second = peer.take()
        assert (first.kind, first.properties, first.codes) == (SUBACK, b"", [0x8F, 0x8F])
        assert (second.kind, second.properties, second.codes) == (UNSUBACK, b"", [0x11])

    run(body)


@pytest.mark.parametrize("size", [60, 1_023, 1_024, 1_100, 10_000])
@pytest.mark.parametrize("count", [1, 30, 700, 1_000])
def test_a_suback_is_no_larger_than_the_client_takes(size: int, count: int) -> None:
    """[MQTT-3.9.2-1]: its codes come where they have room, whatever there is to say of them."""

    async def body() -> None:
        peer = Harness().connected(5, props=b"\x27" + size.to_bytes(4, "big"))
        before = len(peer.transport.data)
        peer.send(client.subscribe(*["nowhere/" + "x" * 30] * count, version=5))
        length = len(client.remaining_length(3 + count))
        if size < 1 + length + 3 + count:
            assert_ended(peer, 0x95)
            return
        (suback,) = peer.take()
        assert suback.codes == [0x8F] * count
        assert len(peer.transport.data) - before <= size

    run(body)


@both_versions
def test_unsubscribe_ends_the_filters_that_are_equal(version: int) -> None:
    """[MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-6] [MQTT-3.11.3-1]: no matching, no folding."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(version, "reader")
        peer.send(client.subscribe("open/a", "open/b", "open/c/#", version=version))
        peer.take()
        others = ("open/+", "open/A", "open/c", "#")
        peer.send(client.unsubscribe("open/b", *others, "open/c/#", version=version, packet_id=2))
        (answer,) = peer.take()
        assert (answer.kind, answer.packet_id) == (UNSUBACK, 2)
        assert answer.codes == ([0, 0x11, 0x11, 0x11, 0x11, 0] if version == 5 else [])
        writer = harness.connected(version, "writer")
        for topic in ("open/a", "open/b", "open/c", "open/c/d"):
            writer.send(client.publish(topic, topic.encode(), version=version))
        await harness.tick()
        assert payloads(peer) == [b"open/a"]

    run(body)


@both_versions
def test_an_unsubscribe_of_nothing_is_answered(version: int) -> None:
    """[MQTT-3.10.4-5]."""

    async def body() -> None:
        peer = Harness().connected(version)
        peer.send(client.unsubscribe("open/a", version=version, packet_id=9))
        (answer,) = peer.take()
        assert (answer.kind, answer.packet_id) == (UNSUBACK, 9)

    run(body)


@both_versions
def test_what_is_in_flight_is_completed_after_an_unsubscribe(version: int) -> None:
    """[MQTT-3.10.4-3]: its steps go on, and what waited for the window comes."""

    async def body() -> None:
        harness = Harness(max_inflight=1)
        props = b"\x21\x00\x01" if version == 5 else b""
        peer = harness.connected(version, "reader", props=props)
        peer.send(client.subscribe(("open/#", 2), version=version))
        peer.take()
        context = Context(SUPER_USER, "mqtt")
        harness.database.publish("open/a", b"1", context, qos=2)
        await harness.tick()
        (message,) = messages(peer)
        peer.send(client.unsubscribe("open/#", version=version, packet_id=2))
        (answer,) = peer.take()
        assert answer.kind == UNSUBACK
        peer.send(client.pubrec(message.packet_id))
        (release,) = peer.take()
        assert (release.kind, release.packet_id) == (PUBREL, message.packet_id)
        peer.send(client.pubcomp(message.packet_id))
        harness.database.publish("open/a", b"2", context, qos=2)
        await harness.tick()
        assert [one for one in peer.take() if one.kind == PUBLISH] == []
        assert not peer.is_closed

    run(body)


@both_versions
def test_a_ping_is_answered(version: int) -> None:
    """[MQTT-3.12.4-1]: each of them."""

    async def body() -> None:
        peer = Harness().connected(version)
        peer.send(client.PINGREQ, client.PINGREQ)
        assert [(one.kind, one.body) for one in peer.take()] == [(PINGRESP, b"")] * 2

    run(body)
