"""Messages for sessions that are away, on a server of two workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.e2e.worker_clients import client_of, two_workers
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received

EXPIRY = b"\x11\x00\x00\x0e\x10"
"""A session expiry of an hour."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with two_workers() as process:
        yield process


@contextmanager
def durable(server: ServerProcess, client_id: str, *, clean: bool) -> Iterator[RawMqtt]:
    """A connection with a session that outlives it."""
    with RawMqtt(server, 5) as client:
        connect = frames.connect(
            5, client_id, clean=clean, username=USER, password=PASSWORD.encode(), props=EXPIRY
        )
        client.send(connect)
        accepted = client.next()
        assert (accepted.kind, accepted.reason) == (2, 0), accepted
        yield client
        client.send(frames.disconnect(0))


def collect(client: RawMqtt, count: int) -> list[Received]:
    """So many messages, acknowledged as their quality asks."""
    found: list[Received] = []
    while len(found) < count:
        packet = client.next()
        if packet.kind == 3:
            found.append(packet)
            if packet.qos == 1:
                client.send(frames.puback(packet.packet_id))
            elif packet.qos == 2:
                client.send(frames.pubrec(packet.packet_id))
        elif packet.kind == 6:
            client.send(frames.packet(0x70, packet.packet_id.to_bytes(2, "big")))
    return found


def test_what_either_worker_takes_is_there_when_the_session_comes_back(
    server: ServerProcess,
) -> None:
    """In the order of each publisher; from the SUBACK on, on the other worker too."""
    for number in range(5):
        topic = f"away/{number}"
        with durable(server, f"sleeper-{number}", clean=True) as sleeper:
            sleeper.send(frames.subscribe((topic, 1), version=5))
            assert list(sleeper.until(9).codes) == [1]
        with client_of(server, 1) as one, client_of(server, 2) as two, client_of(server, 1) as live:
            live.subscribe((topic, 1))
            for at in range(10):
                one.publish(topic, b"one %d" % at, 1)
                two.publish(topic, b"two %d" % at, 1)
            seen = [live.until(3).payload for _ in range(20)]
        with durable(server, f"sleeper-{number}", clean=False) as sleeper:
            kept = [message.payload for message in collect(sleeper, 20)]
        for payloads in (seen, kept):
            for name in (b"one", b"two"):
                of_one = [each for each in payloads if each.startswith(name)]
                assert of_one == [b"%s %d" % (name, at) for at in range(10)]
