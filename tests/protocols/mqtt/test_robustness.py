"""Any pieces, any bytes: the same effects however a stream is cut, and never a raise."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.protocols.mqtt import client_frames as client
from tests.protocols.mqtt.harness import Harness, run


def stream(version: int) -> bytes:
    """One of everything that a client says in its life."""
    return b"".join(
        (
            client.connect(version, "c", keep_alive=60, will=("open/will", b"w"), will_qos=1),
            client.subscribe(("open/#", 1), ("Sensor/+", 0), version=version),
            client.publish("open/a", b"1", version=version),
            client.publish("open/a", b"2" * 200, version=version, qos=1, packet_id=7),
            client.publish("open/b", b"3", version=version, qos=1, packet_id=8, retain=True),
            client.publish("open/a", b"4", version=version, qos=1, packet_id=9, dup=True),
            client.puback(1),
            client.unsubscribe("Sensor/+", "none", version=version),
            client.PINGREQ,
            client.publish("open/a", b"5", version=version),
            client.DISCONNECT,
        )
    )


async def effects(
    version: int, pieces: list[bytes]
) -> tuple[dict[int, list[bytes]], dict[str, bytes], bool]:
    """Answers by kind, in their order; records; whether the connection was closed.

    Kinds among each other have no order: messages leave at the end of a tick.
    """
    harness = Harness()
    peer = harness.peer(version)
    for piece in pieces:
        if peer.is_closed:
            break
        peer.send(piece)
    await harness.tick()  # what came with the CONNECT waited for its answer
    harness.database.commit()
    await harness.tick()
    answers: dict[int, list[bytes]] = {}
    for packet in peer.take():
        answers.setdefault(packet.kind, []).append(packet.body)
    return answers, harness.database.records, peer.is_closed


@pytest.mark.parametrize("version", [4, 5])
def test_a_stream_has_the_same_answers_at_every_split_point(version: int) -> None:
    """All two-part splits, and byte by byte. (No tick passes in between.)"""
    whole = stream(version)

    async def body() -> None:
        expected = await effects(version, [whole])
        assert sorted(expected[0]) == [2, 3, 4, 9, 11, 13]
        for at in range(1, len(whole)):
            assert await effects(version, [whole[:at], whole[at:]]) == expected, at
        assert await effects(version, [bytes([byte]) for byte in whole]) == expected

    run(body)


def test_a_large_packet_may_come_byte_by_byte() -> None:
    async def body() -> None:
        harness = Harness()
        peer = harness.connected(4)
        frame = client.publish("open/a", b"x" * 5_000, qos=1)
        for byte in frame:
            peer.send(bytes([byte]))
        assert [packet.kind for packet in peer.take()] == [4]

    run(body)


@settings(max_examples=150)
@given(st.integers(0, 2**32), st.sampled_from((4, 5)))
def test_mutated_streams_never_raise_and_leave_nothing_behind(seed: int, version: int) -> None:
    """Bytes changed, cut out, doubled. `feed` never raises into the event loop."""
    rng = random.Random(seed)
    data = bytearray(stream(version))
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                del data[at : at + rng.randint(1, 9)]
            case _:
                data[at:at] = data[at : at + rng.randint(1, 30)]

    async def body() -> None:
        harness = Harness(max_packet_bytes=2_000)
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: errors.append(context)
        )
        peer = harness.peer(version)
        position = 0
        while position < len(data) and not peer.is_closed:
            step = rng.randint(1, 80)
            peer.send(bytes(data[position : position + step]))
            position += step
        harness.database.commit()
        await harness.tick()
        client.split(bytes(peer.transport.data), version)  # whole packets only
        if not peer.is_closed:
            peer.lose()
        else:
            peer.connection.connection_lost(None)
        harness.database.commit()
        await harness.tick()
        statistics = harness.service.statistics()
        assert (statistics.connections, statistics.clients, statistics.writing) == (0, 0, 0)
        assert harness.database.hub.statistics().subscribers == 0
        harness.clock.turn(1)
        assert harness.clock.armed is None, "nothing is left in the wheel"
        assert not errors

    asyncio.run(body())


@settings(max_examples=200)
@given(st.binary(max_size=200), st.sampled_from((4, 5)), st.booleans())
def test_any_bytes_end_in_a_close_or_a_valid_state(
    data: bytes, version: int, greeted: bool
) -> None:
    """With and without a CONNECT before them."""

    async def body() -> None:
        harness = Harness()
        peer = harness.connected(version) if greeted else harness.peer(version)
        peer.send(data)
        packets = peer.take()
        if peer.is_closed and greeted and version == 5 and data[:1] != b"\xe0":
            assert packets[-1].kind == 14, "a v5 client hears why"
        await harness.tick()

    asyncio.run(body())


def test_a_fault_is_never_logged_for_bad_input(caplog: pytest.LogCaptureFixture) -> None:
    """Bad input is expected: the edge's "failed" line with a traceback is for our faults."""
    rng = random.Random(5)

    async def body() -> None:
        for version in (4, 5):
            original = stream(version)
            for _ in range(300):
                data = bytearray(original)
                data[rng.randrange(len(data))] = rng.randrange(256)
                harness = Harness()
                peer = harness.peer(version)
                peer.send(bytes(data))
                await harness.tick()

    run(body)
    assert not [record for record in caplog.records if record.exc_info]
