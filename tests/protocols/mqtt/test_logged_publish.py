"""Messages that durable sessions want: logged, then acknowledged, in their order."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import DiskFull, NotAuthorised
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, now_ms, run


def reader(harness: Harness) -> Peer:
    peer = harness.connected(5, "reader")
    peer.send(client.subscribe(("open/#", 1), version=5))
    peer.take()
    return peer


def keeping(**limits: object) -> Harness:
    """A sleeping session wants ``open/kept/#``."""
    harness = Harness(**limits)  # type: ignore[arg-type]  # names are checked there
    harness.database.hub.durable.replace(b"sleeping", ["open/kept/#"])
    return harness


def acknowledged(peer: Peer) -> list[tuple[int, int, int]]:
    return [(packet.kind, packet.packet_id, packet.reason) for packet in peer.take()]


@pytest.mark.parametrize("version", [4, 5])
def test_what_comes_in_one_read_is_logged_at_once_and_acknowledged_after_it(version: int) -> None:
    async def body() -> None:
        harness = keeping()
        writer = harness.connected(version, "w")
        frames = [
            client.publish(f"open/kept/{n % 3}", b"%d" % n, version=version, qos=1, packet_id=n)
            for n in range(1, 31)
        ]
        writer.send(*frames[:3])
        harness.database.commit_log()
        writer.send(*frames[3:])
        (call,) = harness.database.logging
        assert [message.payload for message in call.messages] == [b"%d" % n for n in range(4, 31)]
        assert call.rows == ()
        await harness.tick()
        assert acknowledged(writer) == [(4, n, 0) for n in (1, 2, 3)]
        harness.database.commit_log()
        await harness.tick()
        assert acknowledged(writer) == [(4, n, 0) for n in range(4, 31)]
        assert len(harness.database.logged) == 30

    run(body)


def test_properties_and_expiry_go_to_the_log() -> None:
    async def body() -> None:
        harness = keeping()
        writer = harness.connected(5)
        kept = b"\x03" + client.text("text/plain") + b"\x26" + client.text("k") + client.text("v")
        for props in (kept, b"\x02\x00\x00\x00\x3c" + kept):
            for _ in range(2):  # the second time the topic is known
                writer.send(client.publish("open/kept/a", b"hi", version=5, qos=1, props=props))
                harness.database.commit_log()
        for number, message in enumerate(harness.database.logged):
            assert (message.properties, message.content_type) == (kept, "text/plain")
            left_ms = message.expires_ms - now_ms()
            assert (0 < left_ms <= 60_000) if number > 1 else not message.expires_ms

    run(body)


@settings(max_examples=120)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("open/kept/a", "open/kept/b", "open/free")),
            st.integers(0, 2),
            st.booleans(),
        ),
        min_size=1,
        max_size=25,
    ),
    st.lists(st.integers(1, 25), max_size=4),
)
def test_order_per_topic_holds_through_the_log_and_beside_it(
    sent: list[tuple[str, int, bool]], reads: list[int]
) -> None:
    """QoS 0 goes direct and may not overtake what was published before it; acks in order."""

    async def body() -> None:
        harness = keeping()
        hears, writer = reader(harness), harness.connected(5, "w")
        warm = [client.publish(topic, b"-", version=5) for topic, _, _ in sent]
        writer.send(*warm)
        await harness.tick()
        hears.take()
        user = b"\x26" + client.text("k") + client.text("v")
        frames = [
            client.publish(
                topic, b"%d" % n, version=5, qos=qos, packet_id=n, props=user if full else b""
            )
            for n, (topic, qos, full) in enumerate(sent, 1)
        ]
        start = 0
        for count in [*reads, 25]:
            writer.send(*frames[start : start + count])
            start += count
            await harness.tick()
            harness.database.commit_log(1)
        while harness.database.logging:
            harness.database.commit_log()
            await harness.tick()
        await harness.tick()
        told = [(packet.topic, int(packet.payload)) for packet in hears.take()]
        for name in {topic for topic, _, _ in sent}:
            wanted = [n for n, (topic, _, _) in enumerate(sent, 1) if topic == name]
            assert [n for topic, n in told if topic == name] == wanted
        expected = [(3 + qos, n, 0) for n, (_, qos, _) in enumerate(sent, 1) if qos]
        assert acknowledged(writer) == expected
        logged = {int(message.payload) for message in harness.database.logged}
        assert logged == {n for n, (topic, qos, _) in enumerate(sent, 1) if "kept" in topic and qos}

    asyncio.run(body())


def test_a_batch_that_fails_is_refused_and_what_came_beside_it_is_not() -> None:
    """v5 hears which; QoS 1 and 2 alike."""

    async def body() -> None:
        harness = keeping()
        writer = harness.connected(5)
        topics = ["open/kept/a", "open/free", "open/kept/a"]
        for _ in range(2):
            writer.send(
                *[
                    client.publish(topic, version=5, qos=2 if n == 3 else 1, packet_id=n)
                    for n, topic in enumerate(topics, 1)
                ]
            )
            harness.database.commit_log(error=DiskFull("full"))
            await harness.tick()
            assert acknowledged(writer) == [(4, 1, 0x97), (4, 2, 0), (5, 3, 0x97)]
        assert not harness.database.logged
        assert harness.service.statistics().refused == 4
        assert harness.service.statistics().writing == 0

    run(body)


def test_a_3_1_1_client_whose_messages_fail_is_closed_without_acknowledgements() -> None:
    async def body() -> None:
        harness = keeping()
        writer = harness.connected(4)
        writer.send(client.publish("open/kept/a"))
        writer.send(*[client.publish("open/kept/a", qos=1, packet_id=n) for n in (1, 2)])
        harness.database.commit_log(error=DiskFull("full"))
        await harness.tick()
        assert writer.is_closed
        assert not writer.take()
        other = harness.connected(4, "other")
        harness.database.full = True
        other.send(client.publish("open/kept/a", qos=1))
        assert other.is_closed

    run(body)


def test_a_lasting_refusal_is_acknowledged_to_3_1_1() -> None:
    """It would come again for ever."""

    async def body() -> None:
        harness = keeping()
        writer = harness.connected(4)
        writer.send(client.publish("open/kept/a"))
        writer.send(*[client.publish("open/kept/a", qos=1, packet_id=n) for n in (1, 2)])
        harness.database.commit_log(error=NotAuthorised("no"))
        await harness.tick()
        assert acknowledged(writer) == [(4, 1, 0), (4, 2, 0)]

    run(body)


def test_a_client_far_ahead_of_the_log_is_not_read_or_is_told() -> None:
    """3.1.1 waits; a v5 client is to count by itself [MQTT-3.3.4-7]."""

    async def body() -> None:
        harness = keeping(receive_maximum=4)
        old, new = harness.connected(4, "old"), harness.connected(5, "new")
        for peer in (old, new):
            peer.send(client.publish("open/kept/a", version=peer.version))
        old.send(*[client.publish("open/kept/a", qos=1, packet_id=n) for n in range(1, 11)])
        # The frame at hand is taken still.
        assert sum(len(call.messages) for call in harness.database.logging) <= 5
        assert not old.transport.is_reading
        for _ in range(5):
            harness.database.commit_log()
            await harness.tick()
        assert len(acknowledged(old)) == 10
        assert old.transport.is_reading
        frames = [client.publish("open/kept/a", version=5, qos=1, packet_id=n) for n in range(1, 6)]
        new.send(*frames[:4])
        assert not new.is_closed
        new.send(frames[4])
        assert [packet.reason for packet in new.take()] == [0x93]

    run(body)


def test_nothing_that_follows_a_failure_in_the_same_read_has_an_effect() -> None:
    """The connection has ended: a SUBSCRIBE would outlive it."""

    async def body() -> None:
        harness = keeping()
        writer = harness.connected(4)
        writer.send(client.publish("open/kept/a"))
        harness.database.full = True
        writer.send(client.publish("open/kept/a", qos=1), client.subscribe("open/#"))
        assert writer.is_closed
        assert not harness.database.subscriptions

    run(body)


def test_a_client_is_not_read_while_too_many_logged_bytes_wait() -> None:
    async def body() -> None:
        harness = keeping(unacknowledged_bytes=10_000)
        writer = harness.connected(5)
        for number in (1, 2, 3):
            assert writer.transport.is_reading
            writer.send(
                client.publish("open/kept/a", b"x" * 4_000, version=5, qos=1, packet_id=number)
            )
        assert not writer.transport.is_reading
        harness.database.commit_log()
        assert writer.transport.is_reading

    run(body)
