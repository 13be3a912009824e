"""Messages of QoS 2 to a client whose session ends with its connection (MQTT 5 §4.3.3)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.plugins.context import Context
from lyredb.security.principals import SUPER_USER
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run

PUBLISH, PUBREL = 3, 6


def reader(harness: Harness, version: int = 5, *, props: bytes = b"") -> Peer:
    """A client that is subscribed with QoS 2."""
    peer = harness.connected(version, "reader", props=props)
    peer.send(client.subscribe(("open/#", 2), version=version))
    (suback,) = peer.take()
    assert suback.codes == [2]
    return peer


async def publish(harness: Harness, *payloads: bytes, qos: int = 2) -> None:
    """Somebody publishes, whichever way."""
    for payload in payloads:
        harness.database.publish("open/a", payload, Context(SUPER_USER, "mqtt"), qos=qos)
    await harness.tick()


@pytest.mark.parametrize("version", [4, 5])
def test_a_message_goes_through_all_four_steps(version: int) -> None:
    """PUBLISH, PUBREC, PUBREL, PUBCOMP [MQTT-4.3.3-4] [MQTT-4.3.3-5]."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, version)
        await publish(harness, b"x")
        (message,) = peer.take()
        assert (message.kind, message.qos, message.payload) == (PUBLISH, 2, b"x")
        peer.send(client.pubrec(message.packet_id))
        (release,) = peer.take()
        assert (release.kind, release.flags, release.body) == (
            PUBREL,
            2,
            message.packet_id.to_bytes(2, "big"),
        )
        peer.send(client.pubcomp(message.packet_id))
        assert peer.take() == []
        assert not peer.is_closed

    run(body)


@pytest.mark.parametrize(
    ("published", "granted", "sent"), [(2, 1, 1), (1, 2, 1), (0, 2, 0), (2, 0, 0)]
)
def test_the_lower_quality_of_service_counts(published: int, granted: int, sent: int) -> None:
    """MQTT 5 §3.8.4: min(message, subscription)."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5, "reader")
        peer.send(client.subscribe(("open/#", granted), version=5))
        peer.take()
        await publish(harness, b"x", qos=published)
        (message,) = peer.take()
        assert message.qos == sent

    run(body)


def test_the_window_is_free_after_the_pubcomp_and_not_before() -> None:
    """§4.9: a message of QoS 2 counts against Receive Maximum until its PUBCOMP."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, props=b"\x21\x00\x01")  # Receive Maximum 1
        await publish(harness, b"1", b"2")
        (first,) = peer.take()
        peer.send(client.pubrec(first.packet_id))
        (release,) = peer.take()
        assert release.kind == PUBREL
        peer.send(client.pubcomp(first.packet_id))
        (second,) = peer.take()
        assert (second.payload, second.qos) == (b"2", 2)

    run(body)


def test_a_pubrec_that_says_no_is_the_end_of_its_message() -> None:
    """[MQTT-4.3.3-5]: no PUBREL, and the place in the window is free (§4.9)."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, props=b"\x21\x00\x01")
        await publish(harness, b"1", b"2")
        (first,) = peer.take()
        peer.send(client.pubrec(first.packet_id, 0x97))
        (second,) = peer.take()
        assert (second.kind, second.payload) == (PUBLISH, b"2")

    run(body)


def test_a_pubrec_that_comes_again_is_answered_again() -> None:
    async def body() -> None:
        harness = Harness()
        peer = reader(harness)
        await publish(harness, b"1")
        (message,) = peer.take()
        peer.send(client.pubrec(message.packet_id), client.pubrec(message.packet_id))
        assert [(p.kind, p.reason) for p in peer.take()] == [(PUBREL, 0), (PUBREL, 0)]

    run(body)


@pytest.mark.parametrize(("version", "reason"), [(4, 0), (5, 0x92)])
def test_a_pubrec_of_nothing_is_released_all_the_same(version: int, reason: int) -> None:
    """§3.6.2.1: the client can forget the identifier; 0x92 says that we had not."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, version)
        peer.send(client.pubrec(77))
        (release,) = peer.take()
        assert (release.kind, release.packet_id, release.reason) == (PUBREL, 77, reason)

    run(body)


def test_a_puback_or_an_early_pubcomp_does_not_end_a_message_of_qos_2() -> None:
    """Else its identifier could be given to another message while this one is under way."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, props=b"\x21\x00\x01")
        await publish(harness, b"1", b"2")
        (first,) = peer.take()
        peer.send(client.puback(first.packet_id), client.pubcomp(first.packet_id))
        assert peer.take() == []

    run(body)


@settings(max_examples=60)
@given(
    qos=st.lists(st.integers(0, 2), min_size=1, max_size=40),
    window=st.integers(1, 8),
    order=st.randoms(use_true_random=False),
)
def test_no_identifier_is_used_twice_and_everything_comes_in_order(
    qos: list[int], window: int, order: random.Random
) -> None:
    """Replies in any order: each message once, never more than the window in flight."""

    async def body() -> None:
        harness = Harness()
        peer = reader(harness, props=b"\x21" + window.to_bytes(2, "big"))
        for number, one in enumerate(qos):
            await publish(harness, b"%d" % number, qos=one)
        got: list[int] = []
        open_ids: dict[int, int] = {}
        while True:
            for packet in peer.take():
                if packet.kind == PUBLISH:
                    got.append(int(packet.payload))
                    if packet.qos:
                        assert packet.packet_id not in open_ids
                        open_ids[packet.packet_id] = packet.qos
                else:
                    assert packet.kind == PUBREL
                    assert open_ids[packet.packet_id] == 2
                    open_ids[packet.packet_id] = 3
            assert len(open_ids) <= window
            if not open_ids:
                break
            chosen = order.choice(sorted(open_ids))
            step = open_ids[chosen]
            if step == 2:
                peer.send(client.pubrec(chosen))
            else:
                del open_ids[chosen]
                peer.send(client.puback(chosen) if step == 1 else client.pubcomp(chosen))
        assert got == list(range(len(qos)))

    run(body)
