"""A read that is one plain message takes a short way, with the effects of the long one."""

from __future__ import annotations

import pytest

from lyredb.delivery.outbox import LONE_TICKS
from lyredb.operations.broker_requests import TraceLine
from lyredb.protocols.mqtt.tracing import Tap
from lyredb.protocols.mqtt.wheel import Wheel
from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import FakeTransport, Harness, Peer, run


def message(number: int, version: int = 4) -> bytes:
    return client.publish("open/a", b"%d" % number, version=version)


def payloads(peer: Peer) -> list[bytes]:
    return [packet.payload for packet in peer.take()]


async def lonely(harness: Harness, version: int = 4, keep_alive: int = 0) -> tuple[Peer, Peer]:
    """A reader and a writer whose messages have come one at a time for long enough."""
    reader = harness.connected(version, "r")
    writer = harness.connected(version, "w", keep_alive=keep_alive)
    reader.send(client.subscribe("open/#", version=version))
    for number in range(LONE_TICKS + 1):  # the first one makes the path
        writer.send(message(number, version))
        await harness.tick()
    reader.take()
    return reader, writer


@pytest.mark.parametrize("version", [4, 5])
def test_a_message_that_comes_alone_leaves_in_the_call_that_brings_it(version: int) -> None:
    """It has nobody to be joined with, and a tick costs a turn of the loop."""

    async def body() -> None:
        reader, writer = await lonely(Harness(), version)
        writer.send(message(1, version))
        assert payloads(reader) == [b"1"]

    run(body)


def test_messages_in_company_are_written_together_and_in_order() -> None:
    """A few are written one by one until it is noticed, the rest of the tick in one write."""

    async def body() -> None:
        harness = Harness()
        reader, writer = await lonely(harness)
        other = harness.connected(4, "w2")
        before = reader.transport.writes
        for number in range(50):
            (writer, other)[number % 2].send(message(number))
        await harness.tick()
        assert payloads(reader) == [b"%d" % number for number in range(50)]
        assert reader.transport.writes - before < 15

    run(body)


def test_a_piece_that_looks_like_a_message_is_none() -> None:
    """What follows a piece of a packet belongs to it, whatever it looks like."""

    async def body() -> None:
        harness = Harness()
        reader, writer = await lonely(harness)
        inner = message(7)
        whole = client.publish("open/a", b"before" + inner)
        writer.send(whole[: -len(inner)])
        writer.send(inner)
        await harness.tick()
        assert payloads(reader) == [b"before" + inner]
        writer.send(message(8))
        await harness.tick()
        assert payloads(reader) == [b"8"]

    run(body)


def test_a_message_waits_while_its_client_is_not_read() -> None:
    """Also what the transport had read already, and what comes after it stays after it."""

    async def body() -> None:
        harness = Harness()
        reader, writer = await lonely(harness)
        writer.connection.pause_reading("why")
        writer.send(message(1))
        await harness.tick()
        assert payloads(reader) == []
        writer.connection.resume_reading("why")
        writer.send(message(2))
        await harness.tick()
        assert payloads(reader) == [b"1", b"2"]

    run(body)


def test_a_slow_reader_stops_who_sends_single_messages() -> None:
    """Until it has drained; a transport that is full says so while it is written to."""

    async def body() -> None:
        harness = Harness()
        reader, writer = await lonely(harness)
        full = FullTransport(reader)
        reader.connection._transport = full  # as after a tap
        assert reader.connection.session is not None
        reader.connection.session.write_to(full)
        writer.send(message(1))
        assert not writer.transport.is_reading
        reader.connection.resume_writing()
        assert writer.transport.is_reading

    run(body)


class FullTransport(FakeTransport):
    """Has too much after each write."""

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self._peer.connection.pause_writing()


def test_a_tap_sees_messages_that_come_alone() -> None:
    """From the next one on, and no more when it is taken away."""

    async def body() -> None:
        lines: list[TraceLine] = []
        reader, writer = await lonely(Harness())
        writer.connection.tap(Tap(lines.append, 4))
        writer.send(message(1))
        writer.connection.tap(None)
        writer.send(message(2))
        await reader.harness.tick()
        assert [line.text for line in lines] == ["PUBLISH 'open/a' q0 r0 d0 1 bytes '1'"]
        assert payloads(reader) == [b"1", b"2"]

    run(body)


def test_a_client_that_sends_single_messages_is_not_silent() -> None:
    """The keep-alive counts from the last packet, whichever way it took."""

    async def body() -> None:
        harness = Harness()
        _, writer = await lonely(harness, keep_alive=10)
        for number in range(4):
            harness.clock.turn(Wheel.ticks(10))
            writer.send(message(number))
        assert not writer.is_closed

    run(body)


def test_nothing_is_taken_from_a_client_that_was_ended() -> None:
    """Its last message may still be on its way."""

    async def body() -> None:
        harness = Harness()
        reader, writer = await lonely(harness)
        writer.connection.kick("enough")
        writer.send(message(1))
        await harness.tick()
        assert payloads(reader) == []

    run(body)


def test_each_message_is_counted() -> None:
    """Received, its bytes, and sent, as on the long way."""

    async def body() -> None:
        harness = Harness()
        _, writer = await lonely(harness)
        before, frame = harness.service.statistics(), message(1)
        writer.send(frame)
        after = harness.service.statistics()
        assert after.received - before.received == 1
        assert after.received_bytes - before.received_bytes == len(frame)
        assert after.sent - before.sent == 1
        assert after.published_bytes - before.published_bytes == len(frame)

    run(body)


def test_rights_that_were_taken_away_hold_for_the_next_message() -> None:
    """The path is dropped with the rights, and without one nothing takes the short way."""

    async def body() -> None:
        harness = Harness()
        reader, writer = await lonely(harness)
        assert writer.connection.session is not None
        principal = writer.connection.session.context.principal
        harness.database.access.denied.add(principal)
        harness.database.change_access(principal)
        writer.send(message(1))
        await harness.tick()
        assert payloads(reader) == []

    run(body)
