"""One connection's bytes are worked on in turns, so that nobody waits for all of them."""

from __future__ import annotations

import asyncio
import time

import pytest

from lyredb.protocols.net.flow import Turn
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run

FIVE_THOUSAND = [f"open/{number}" for number in range(5_000)]


def publishes(topics: list[str], qos: int = 0) -> bytes:
    return b"".join(
        client.publish(topic, b"x", qos=qos, packet_id=number if qos else 0)
        for number, topic in enumerate(topics, start=1)
    )


def received(harness: Harness) -> int:
    return harness.service.statistics().received


async def until_read(peer: Peer) -> None:
    """Let ticks pass until the peer is read again."""
    for _ in range(10_000):
        if peer.transport.is_reading:
            return
        await asyncio.sleep(0)
    raise AssertionError("never read again")


def test_new_topics_of_one_read_take_several_turns() -> None:
    """At 0.1 ms each a turn has 50 of them; the rest waits and the peer is not read."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4, "w")
        harness.look_s = 0.0001
        writer.send(publishes(FIVE_THOUSAND))
        assert 0 < received(harness) <= 100
        assert not writer.transport.is_reading
        before = received(harness)
        await asyncio.sleep(0)
        assert before < received(harness) <= before + 100, "one turn a tick"
        await until_read(writer)
        assert received(harness) == 5_000

    run(body)


@pytest.mark.parametrize("qos", [0, 1])
def test_turns_keep_the_order_and_acknowledge_each_message_once(qos: int) -> None:
    async def body() -> None:
        harness = Harness(max_inflight=10_000, max_queued=10_000)
        reader, writer = harness.connected(4, "r"), harness.connected(4, "w")
        reader.send(client.subscribe(("open/#", qos)))
        reader.take()
        harness.look_s = 0.0005
        topics = FIVE_THOUSAND[:500]
        writer.send(publishes(topics, qos), client.PINGREQ)
        # What a transport delivers although it was told to pause comes behind the rest.
        writer.send(client.publish("open/last", b"x"))
        await until_read(writer)
        await harness.tick()
        assert [packet.topic for packet in reader.take()] == [*topics, "open/last"]
        answers = writer.take()
        assert [p.packet_id for p in answers[:-1]] == ([*range(1, 501)] if qos else [])
        assert answers[-1].kind == 13, "the PINGRESP comes after what was asked before"

    run(body)


def test_known_topics_of_a_large_read_take_several_turns_too() -> None:
    """The loop over known topics looks at no clock; it stops after 64 kB."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4, "w")
        frame = client.publish("open/a", b"x" * 1_000)
        writer.send(frame)
        harness.look_s = 0.01
        writer.send(frame * 1_000)
        assert received(harness) < 100
        await until_read(writer)
        assert received(harness) == 1_001

    run(body)


def test_a_large_read_that_took_long_is_the_last_of_its_turn() -> None:
    """uvloop reads up to 32 times without anybody else having a turn."""

    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4, "w")
        harness.look_s = 0.001
        writer.send(client.publish("open/a", b"x" * 50_000))
        assert not writer.transport.is_reading
        assert received(harness) == 1
        await until_read(writer)
        writer.send(client.publish("open/a", b"x"))
        assert writer.transport.is_reading, "a small one of that time is not"

    run(body)


def test_a_disconnect_behind_a_long_read_is_a_normal_goodbye() -> None:
    """The end of the peer is not met before its bytes: no will, nothing lost."""

    async def body() -> None:
        harness = Harness()
        watcher = harness.connected(4, "watcher")
        watcher.send(client.subscribe("open/#"))
        watcher.take()
        writer = harness.connected(4, "w", will=("open/will", b"gone"))
        harness.look_s = 0.0005
        writer.send(publishes(FIVE_THOUSAND[:300]), client.DISCONNECT)
        assert not writer.is_closed
        for _ in range(300):
            await asyncio.sleep(0)
        assert writer.is_closed
        assert [packet.topic for packet in watcher.take()] == FIVE_THOUSAND[:300]

    run(body)


def test_what_was_read_before_the_peer_went_takes_effect() -> None:
    """A WebSocket's close frame may come in the same read as the DISCONNECT."""

    async def body() -> None:
        harness = Harness()
        watcher = harness.connected(4, "watcher")
        watcher.send(client.subscribe("open/#"))
        watcher.take()
        writer = harness.connected(4, "w", will=("open/will", b"gone"))
        harness.look_s = 0.001
        writer.send(publishes(FIVE_THOUSAND[:100]), client.DISCONNECT)
        assert received(harness) < 100
        writer.lose()
        await harness.tick()
        assert [packet.topic for packet in watcher.take()] == FIVE_THOUSAND[:100]
        assert harness.service.statistics().connections == 1

    run(body)


def test_the_keep_alive_does_not_run_out_between_turns() -> None:
    async def body() -> None:
        harness = Harness()
        writer = harness.connected(4, "w", keep_alive=1)
        harness.look_s = 0.001
        writer.send(publishes(FIVE_THOUSAND[:100]))
        harness.clock.turn(20)
        assert not writer.is_closed
        await until_read(writer)
        assert received(harness) == 100

    run(body)


def test_others_wait_for_a_small_part_of_what_a_flood_takes() -> None:
    """With the real clock: the longest wait is a fraction of the whole, however slow we are."""

    async def body() -> None:
        harness = Harness()
        harness.service.turn = Turn(time.perf_counter, harness.service.call_soon)
        writer = harness.connected(4, "w")
        waits: list[float] = []
        last = began = time.perf_counter()
        writer.send(publishes([f"open/{number}" for number in range(20_000)]))
        while not writer.transport.is_reading:
            waits.append(time.perf_counter() - last)
            last = time.perf_counter()
            await asyncio.sleep(0)
        assert received(harness) == 20_000
        assert len(waits) > 10
        assert sorted(waits)[len(waits) // 2] < (time.perf_counter() - began) / 5

    run(body)
