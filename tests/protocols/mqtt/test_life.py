"""The life of a connection: keep-alive, will, slow readers, limits, the server's end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lyredb.errors import InvalidRecord
from lyredb.security.principals import SUPER_USER
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, Peer, run

TICKS_PER_S = 2


def watch(harness: Harness) -> Peer:
    watcher = harness.connected(4, "watcher")
    watcher.send(client.subscribe("open/#"))
    watcher.take()
    return watcher


async def published(harness: Harness, watcher: Peer) -> list[bytes]:
    await harness.tick()
    return [packet.payload for packet in watcher.take() if packet.kind == 3]


# Keep-alive


@pytest.mark.parametrize("version", [4, 5])
def test_a_silent_client_is_ended_after_one_and_a_half_keep_alives(version: int) -> None:
    """[MQTT-3.1.2-22]: never before, and v5 hears 0x8D."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(version, keep_alive=10)
        harness.clock.turn(15 * TICKS_PER_S)
        assert not peer.is_closed
        harness.clock.turn(1)
        assert peer.is_closed
        assert [packet.reason for packet in peer.take()] == ([0x8D] if version == 5 else [])

    run(body)


def test_anything_that_is_heard_moves_the_timeout() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(keep_alive=10)
        for _ in range(10):
            harness.clock.turn(14 * TICKS_PER_S)
            peer.send(client.PINGREQ)
        assert not peer.is_closed
        assert [packet.kind for packet in peer.take()] == [13] * 10

    run(body)


def test_without_a_keep_alive_nothing_ends_a_silent_client() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(keep_alive=0)
        harness.clock.turn(1_000)
        assert not peer.is_closed
        assert harness.clock.armed is None, "and nothing ticks"

    run(body)


@pytest.mark.parametrize("version", [4, 5])
def test_a_client_without_a_keep_alive_has_the_idle_time_of_the_server(version: int) -> None:
    """v5 hears 0x98: an administrator wanted it so. What is heard moves the time."""

    async def body() -> None:
        harness = Harness(idle_timeout_s=20.0)
        peer = harness.connected(version, keep_alive=0)
        harness.clock.turn(15 * TICKS_PER_S)
        peer.send(client.PINGREQ)
        peer.take()
        harness.clock.turn(19 * TICKS_PER_S)
        assert not peer.is_closed
        harness.clock.turn(2 * TICKS_PER_S)
        assert peer.is_closed
        assert [packet.reason for packet in peer.take()] == ([0x98] if version == 5 else [])

    run(body)


def test_the_idle_time_is_not_for_clients_with_a_keep_alive() -> None:
    async def body() -> None:
        harness = Harness(idle_timeout_s=5.0)
        peer = harness.connected(keep_alive=100)
        harness.clock.turn(100 * TICKS_PER_S)
        assert not peer.is_closed

    run(body)


def test_a_3_1_1_client_keeps_its_keep_alive_above_the_cap() -> None:
    """It cannot be told of another one, so it must not be closed by one."""

    async def body() -> None:
        harness = Harness(max_keep_alive_s=10)
        peer = harness.connected(4, keep_alive=100)
        harness.clock.turn(100 * TICKS_PER_S)
        assert not peer.is_closed

    run(body)


def test_the_keep_alive_stands_still_while_we_do_not_read() -> None:
    """A client that is not read cannot be heard of."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(keep_alive=10)
        peer.connection.pause_reading("why")
        harness.clock.turn(40 * TICKS_PER_S)
        assert not peer.is_closed
        peer.connection.resume_reading("why")
        harness.clock.turn(40 * TICKS_PER_S)
        assert peer.is_closed

    run(body)


# Will


@pytest.mark.parametrize("version", [4, 5])
def test_a_will_is_published_when_the_network_breaks(version: int) -> None:
    """[MQTT-3.1.2-8]."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        peer = harness.connected(version, will=("open/will", b"gone"))
        peer.lose()
        assert await published(harness, watcher) == [b"gone"]

    run(body)


def test_a_disconnect_discards_the_will_unless_it_asks_for_it() -> None:
    """[MQTT-3.14.4-3]; reason 0x04 is Disconnect with Will Message."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        for version, goodbye in ((4, client.DISCONNECT), (5, client.disconnect(0))):
            peer = harness.connected(version, will=("open/will", b"no"))
            peer.send(goodbye)
            assert peer.is_closed
            peer.connection.connection_lost(None)
            assert await published(harness, watcher) == []
        for reason in (0x04, 0x80):
            peer = harness.connected(5, will=("open/will", b"yes"))
            peer.send(client.disconnect(reason))
            peer.connection.connection_lost(None)
            assert await published(harness, watcher) == [b"yes"]

    run(body)


def test_a_will_is_published_once_after_a_violation_and_a_timeout() -> None:
    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        wrong = harness.connected(5, "wrong", will=("open/will", b"wrong"))
        wrong.send(b"\x00\x00")
        wrong.connection.connection_lost(None)
        silent = harness.connected(5, "silent", keep_alive=1, will=("open/will", b"silent"))
        harness.clock.turn(5)
        silent.connection.connection_lost(None)
        assert await published(harness, watcher) == [b"wrong", b"silent"]

    run(body)


def test_a_retained_will_is_a_write_of_its_record_by_the_clients_user() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(
            5,
            will=("open/will", b"gone"),
            will_qos=1,
            will_retain=True,
            will_properties=b"\x18\x00\x00\x00\x05\x03" + client.text("text/plain"),
        )
        peer.lose()
        (submitted,) = harness.database.waiting
        assert submitted.context.user == "local"
        assert (submitted.write.retain, submitted.write.qos) == (True, 1)
        assert submitted.write.properties == b"\x03" + client.text("text/plain")
        harness.database.commit()
        assert harness.database.records == {"open/will": b"gone"}

    run(body)


@pytest.mark.parametrize("retain", [False, True])
def test_a_will_that_may_not_be_any_more_ends_nothing_else(retain: bool) -> None:
    """It is decided again when it is published, by the rights of that time."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        peer = harness.connected(will=("open/will", b"x"), will_retain=retain)
        harness.database.access.denied.add(SUPER_USER)
        peer.lose()
        harness.database.access.denied.discard(SUPER_USER)
        assert await published(harness, watcher) == []
        assert not harness.database.waiting
        assert harness.service.statistics().refused == 1
        assert harness.service.statistics().clients == 1, "the watcher"

    run(body)


def test_a_will_with_qos_2_goes_out_with_it_and_with_what_readers_were_granted() -> None:
    async def body() -> None:
        harness = Harness()
        watcher = harness.connected(4, "watcher")
        watcher.send(client.subscribe(("open/#", 1)))
        watcher.take()
        harness.connected(4, will=("open/will", b"x"), will_qos=2).lose()
        await harness.tick()
        assert [packet.qos for packet in watcher.take()] == [1]
        harness.connected(4, will=("open/will", b"x"), will_qos=2, will_retain=True).lose()
        (submitted,) = harness.database.waiting
        assert submitted.write.qos == 2

    run(body)


# DISCONNECT, AUTH, flow


def test_a_session_that_ends_with_the_connection_cannot_be_prolonged() -> None:
    """§3.14.2.2.2: 0x82, and the will is not discarded."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        peer = harness.connected(5, will=("open/will", b"x"))
        peer.send(client.disconnect(0, b"\x11\x00\x00\x00\x05"))
        (ended,) = peer.take()
        assert ended.reason == 0x82
        assert await published(harness, watcher) == [b"x"]

    run(body)


def test_a_client_that_asked_for_a_session_that_lasts_may_name_it_again() -> None:
    """§3.14.2.2.2 is about a CONNECT with 0, not about our answer: a normal goodbye."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        lasting = b"\x11\x00\x00\x00\x05"
        peer = harness.connected(5, will=("open/will", b"x"), props=lasting)
        peer.send(client.disconnect(0, lasting))
        assert peer.is_closed
        assert not peer.take()
        assert harness.service.statistics().violations == 0
        assert await published(harness, watcher) == []

    run(body)


def test_what_follows_a_disconnect_is_not_looked_at() -> None:
    """[MQTT-3.14.4-1] and -2."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        peer = harness.connected(4)
        peer.send(client.DISCONNECT, client.publish("open/a", b"late"))
        peer.send(client.publish("open/a", b"later"))
        assert await published(harness, watcher) == []

    run(body)


@pytest.mark.parametrize("reason", [0x00, 0x18, 0x19])
def test_auth_without_an_authentication_method_is_a_protocol_error(reason: int) -> None:
    """[MQTT-4.12.0-6]."""

    async def body() -> None:
        peer = Harness().connected(5)
        peer.send(client.packet(0xF0, bytes([reason, 0])))
        (ended,) = peer.take()
        assert (ended.kind, ended.reason) == (14, 0x82)

    run(body)


def test_what_came_before_a_malformed_packet_takes_effect() -> None:
    """Delivered and acknowledged, then the reason, then the end."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        peer = harness.connected(5)
        good = [client.publish("open/a", b"%d" % n, version=5, qos=1, packet_id=n) for n in (1, 2)]
        peer.send(*good, client.publish("open/+", b"bad", version=5), *good)
        assert [(p.kind, p.reason) for p in peer.take()] == [(4, 0), (4, 0), (14, 0x90)]
        assert peer.is_closed
        assert await published(harness, watcher) == [b"1", b"2"]
        assert harness.service.statistics().violations == 1

    run(body)


def test_a_packet_that_is_too_large_is_refused_before_it_is_read() -> None:
    """0x95 from the header alone; 3.1.1 is closed."""

    async def body() -> None:
        harness = Harness(max_packet_bytes=1_000)
        new, old = harness.connected(5, "new"), harness.connected(4, "old")
        for peer in (new, old):
            peer.send(b"\x30" + client.remaining_length(1_000))
            assert peer.is_closed
        assert [packet.reason for packet in new.take()] == [0x95]
        assert not old.take()

    run(body)


def test_an_internal_error_ends_this_connection_only_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def body() -> None:
        harness = Harness()
        other = harness.connected(5, "other")
        peer = harness.connected(5, "peer")

        harness.database.fault = RuntimeError("secret")
        peer.send(client.publish("open/a", b"x", version=5, retain=True))
        (ended,) = peer.take()
        assert (ended.kind, ended.reason) == (14, 0x80)
        assert b"secret" not in ended.body
        other.send(client.PINGREQ)
        assert [packet.kind for packet in other.take()] == [13]

    run(body)
    assert "secret" in caplog.text, "the log has the rest"


# Readers


def test_qos_0_for_a_reader_beyond_its_buffer_is_dropped_and_counted() -> None:
    async def body() -> None:
        harness = Harness(buffer_bytes=100_000)
        watcher = watch(harness)
        writer = harness.connected(4, "writer")
        watcher.transport.waiting = 100_001
        writer.send(client.publish("open/a", b"lost"))
        assert await published(harness, watcher) == []
        watcher.transport.waiting = 0
        writer.send(client.publish("open/a", b"kept"))
        assert await published(harness, watcher) == [b"kept"]
        watcher.lose()
        assert harness.service.statistics().dropped == 1

    run(body)


@pytest.mark.parametrize("disconnect", [False, True])
def test_a_full_queue_drops_or_disconnects_as_the_setting_says(disconnect: bool) -> None:
    """``mqtt.onQueueFull``: with ``disconnect`` a v5 client hears 0x97."""

    async def body() -> None:
        harness = Harness(max_queued=2, disconnect_when_full=disconnect)
        slow = harness.connected(5, "slow", props=b"\x21\x00\x01")
        slow.send(client.subscribe(("open/#", 1), version=5))
        slow.take()
        writer = harness.connected(4, "writer")
        writer.send(*[client.publish("open/a", b"%d" % n, qos=1, packet_id=n) for n in range(1, 9)])
        await harness.tick()
        if disconnect:
            assert [packet.kind for packet in slow.take()] == [3, 14]
            assert slow.is_closed
            return
        for packet_id in (1, 2, 3):
            slow.send(client.puback(packet_id))
        assert [packet.payload for packet in slow.take()] == [b"1", b"2", b"3"]

    run(body)


def test_a_reader_that_drains_lets_its_current_state_go_on() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(4)
        peer.send(client.subscribe("open/a"))
        peer.connection.pause_writing()
        assert peer.connection.is_congested
        peer.connection.resume_writing()
        assert not peer.connection.is_congested
        assert harness.database.subscriptions[0].resumed
        assert harness.database.drained_by == [peer.connection]

    run(body)


def test_nothing_is_sent_that_the_client_cannot_take() -> None:
    """[MQTT-3.1.2-24]: large messages are dropped for it, an answer ends the connection."""

    async def body() -> None:
        harness = Harness()
        small = harness.connected(5, "small", props=b"\x27\x00\x00\x00\x40")
        small.send(client.subscribe(("open/#", 1), version=5))
        small.take()
        writer = harness.connected(4, "writer")
        for size in (10, 100, 20):
            writer.send(client.publish("open/a", b"x" * size, qos=1))
        await harness.tick()
        assert [len(packet.payload) for packet in small.take()] == [10, 20]
        small.send(client.puback(1), client.puback(2))
        small.send(client.publish("nowhere/at/all", b"1", version=5, qos=1))
        (refused,) = small.take()
        assert (refused.kind, refused.reason, refused.properties) == (4, 0x90, b"")
        small.send(client.subscribe(*["open/a"] * 70, version=5))
        assert all(len(packet.body) < 64 for packet in small.take())
        assert small.is_closed

    run(body)


def test_a_peer_that_does_not_close_is_cut_off() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(4)
        peer.send(client.DISCONNECT)
        assert peer.is_closed
        assert not peer.transport.is_aborted
        harness.clock.turn(11)
        assert peer.transport.is_aborted

    run(body)


# The server's end


def test_stop_publishes_wills_finishes_writes_and_says_goodbye() -> None:
    """v5 0x8B, after the PUBACK of what was already read."""

    async def body() -> None:
        harness = Harness()
        watcher = watch(harness)
        writer = harness.connected(5, "writer", will=("open/will", b"gone"))
        writer.send(client.publish("open/a", b"1", version=5, qos=1, retain=True))
        stopping = asyncio.create_task(harness.service.stop(5.0))
        await harness.tick()
        assert not stopping.done()
        assert not writer.is_closed
        harness.database.commit()
        await harness.tick()
        assert [(p.kind, p.reason) for p in writer.take()] == [(4, 0), (14, 0x8B)]
        assert [p.payload for p in watcher.take() if p.kind == 3] == [b"gone"]
        assert writer.is_closed
        for peer in (writer, watcher):
            peer.connection.connection_lost(None)
        await asyncio.wait_for(stopping, 1)
        assert not writer.transport.is_aborted
        assert harness.clock.armed is None

    run(body)


def test_stop_keeps_its_deadline_with_a_stuck_peer_and_a_stuck_disk() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        peer.send(client.publish("open/a", b"1", version=5, qos=1, retain=True))
        await asyncio.wait_for(harness.service.stop(0.05), 2)
        assert peer.transport.is_aborted
        assert not [packet for packet in peer.take() if packet.kind == 4], "no false PUBACK"
        harness.database.reject(InvalidRecord("late"))

    run(body)


@pytest.mark.pure
def test_stop_does_not_wait_long_for_a_peer_that_does_not_read() -> None:
    """Its last bytes have half a second, not all the time that writes have."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(5)
        deadlines: list[float] = []
        wait = harness.service._wait

        async def at_once(settled: Callable[[], bool], deadline: float) -> None:
            deadlines.append(deadline - harness.loop.time())
            await wait(settled, 0)

        harness.service._wait = at_once  # type: ignore[method-assign]  # no real waiting
        await harness.service.stop(100.0)
        for_writes, for_peers, for_sessions = deadlines
        assert for_writes > 40
        assert for_peers <= 0.5
        assert for_sessions > 40, "what sessions write may take as long as it takes"
        assert peer.transport.is_aborted

    run(body)


def test_stop_ends_logins_that_wait() -> None:
    async def body() -> None:
        harness = Harness()
        harness.authenticator.gate.clear()
        peer = harness.peer(account=None)
        peer.send(client.connect(username="alice", password=b"right"))
        await harness.tick()
        await asyncio.wait_for(harness.service.stop(0.05), 2)
        assert peer.is_closed

    run(body)


def test_a_commit_after_the_end_is_not_answered() -> None:
    """The record is written all the same; the closed transport is left alone."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(4)
        peer.send(client.publish("open/a", b"1", qos=1, retain=True))
        peer.lose()
        harness.database.commit()
        await harness.tick()
        assert not peer.transport.data[4:]
        assert harness.database.records == {"open/a": b"1"}

    run(body)


def test_nobody_is_read_while_the_server_stops() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(4)
        peer.send(client.publish("open/a", b"1", retain=True))
        stopping = asyncio.create_task(harness.service.stop(5.0))
        await harness.tick()
        assert not peer.transport.is_reading
        peer.send(client.publish("open/b", b"late", retain=True))
        harness.database.commit()
        await harness.tick()
        peer.connection.connection_lost(None)
        await asyncio.wait_for(stopping, 1)
        assert harness.database.records == {"open/a": b"1"}
        assert not harness.database.waiting

    run(body)


def test_an_old_connection_that_ends_late_leaves_the_new_one_its_client_id() -> None:
    async def body() -> None:
        harness = Harness()
        harness.connected(4, "same")
        harness.connected(4, "same")
        third = harness.connected(4, "same")
        assert harness.service.statistics().clients == 1
        third.send(client.DISCONNECT)
        assert harness.service.statistics().clients == 0

    run(body)
