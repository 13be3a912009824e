"""Thousands of broken streams to the real server, beside clients that must not notice.

Bounded and repeatable: a fixed seed over the kept corpus. Nothing is asserted of the
single answers, which have tests of their own; here the server must not stumble: no
traceback in its log, no packet out of step for its other clients, bounded memory, and
all connections given back.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.e2e.bystander import Bystander, undisturbed
from tests.e2e.raw_http import raw_http, request
from tests.e2e.raw_mqtt import RawMqtt, raw_mqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.e2e.strict_server import resident_bytes, strict_server
from tests.fuzz.closing import end
from tests.fuzz.mutations import mutate, pieces, seeds
from tests.protocols.mqtt import client_frames as frames
from tests.server.process_tree import children_of

SEED = 20_261_124
MUTATIONS = 1_200
OPEN_AT_ONCE = 40
MOST_MEMORY = 64_000_000
CONFIG = """
mqtt: {maxPacketSize: 100kB, connectTimeout: 5s}
http: {maxBodySize: 100kB, headersTimeout: 5s, timeout: 5s}
ws: {maxMessageSize: 100kB}
"""
UPGRADE = request(
    "GET",
    "/mqtt",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol: mqtt",
)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[ServerProcess]:
    with strict_server(CONFIG) as server:
        yield server


@pytest.fixture(scope="module")
def bystander(fuzzed: ServerProcess) -> Iterator[Bystander]:
    with undisturbed(fuzzed) as good:
        yield good


def connect_frame(version: int) -> bytes:
    return frames.connect(version, "", username=USER, password=PASSWORD.encode())


def masked(payload: bytes) -> bytes:
    """A client's binary frame of up to 125 bytes; its mask is zero."""
    return bytes((0x82, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def opened(port: int, greetings: Sequence[bytes]) -> socket.socket:
    """A connection that has said its greetings, each of which was answered."""
    connection = socket.create_connection(("127.0.0.1", port), 10)
    for greeting in greetings:
        connection.sendall(greeting)
        assert connection.recv(4_096), "a good greeting is answered"
    return connection


KINDS: dict[str, tuple[Callable[[ServerProcess], int], list[bytes]]] = {
    "mqtt4": (lambda server: server.mqtt_port, [connect_frame(4)]),
    "mqtt5": (lambda server: server.mqtt_port, [connect_frame(5)]),
    "http": (lambda server: server.http_port, []),
    "websocket": (lambda server: server.http_port, [UPGRADE, masked(connect_frame(4))]),
}
"""Where the streams of a kind go, and what has to be said first. Logins are no part of
the streams: a changed password costs the time and memory of checking it, as it should."""


class Listener:
    """Hears everything that broken publishers still get through; acknowledges it."""

    def __init__(self, client: RawMqtt) -> None:
        self._client = client
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._answered = threading.Event()
        client.send(frames.subscribe(("Sensor/fuzz/#", 1), version=client.version))
        client.until(9)
        self._thread.start()

    def assert_in_step(self) -> None:
        """What it was sent can be read to the end: the answer to a ping is found in it."""
        self._client.send(frames.PINGREQ)
        assert self._answered.wait(20), "the stream to a good client is out of step"

    def _read(self) -> None:
        while True:
            packet = self._client.next()
            if packet.kind == 13:
                self._answered.set()
                return
            assert packet.kind == 3, packet
            assert f"{packet.topic}/".startswith("Sensor/fuzz/"), packet
            if packet.qos:
                self._client.send(frames.puback(packet.packet_id))


def fuzz(server: ServerProcess, kind: str) -> None:
    """Replay the corpus, then mutations of it; a few connections stay open meanwhile."""
    rng = random.Random(f"{SEED} {kind}")
    port_of, greetings = KINDS[kind]
    port, originals = port_of(server), seeds(kind)
    kept: list[socket.socket] = []
    for number in range(MUTATIONS):
        is_whole = number < len(originals)
        original = originals[number] if is_whole else rng.choice(originals)
        data = original if is_whole else mutate(rng, original, originals)
        connection = opened(port, greetings)
        kept.append(connection)
        for piece in pieces(rng, data):
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
        if len(kept) > OPEN_AT_ONCE:
            end(kept.pop(rng.randrange(len(kept))))
    for connection in kept:
        end(connection)


@pytest.mark.parametrize("kind", KINDS)
def test_broken_streams_disturb_nobody(
    fuzzed: ServerProcess, bystander: Bystander, kind: str
) -> None:
    before = resident_bytes(fuzzed)
    with ExitStack() as stack:
        listeners = [Listener(stack.enter_context(raw_mqtt(fuzzed, version))) for version in (4, 5)]
        fuzz(fuzzed, kind)
        for listener in listeners:
            listener.assert_in_step()
    bystander.check()
    assert resident_bytes(fuzzed) - before < MOST_MEMORY


def test_broken_connects_disturb_nobody(fuzzed: ServerProcess, bystander: Bystander) -> None:
    """Fewer, as some make the server check a password."""
    rng = random.Random(SEED)
    for version in (4, 5):
        greeting = connect_frame(version)
        for _ in range(60):
            connection = opened(fuzzed.mqtt_port, [])
            connection.sendall(mutate(rng, greeting, [greeting]))
            end(connection)
    bystander.check()


def test_every_connection_is_given_back(fuzzed: ServerProcess, bystander: Bystander) -> None:
    """After all of the above the server holds no more sockets than its clients have open."""
    with raw_http(fuzzed) as connection:
        connection.send(request("GET", "/Sensor/good"))
        assert connection.reply().status == 200
    bystander.check()
    deadline = threading.Event()
    for _ in range(100):
        if len(sockets_of(fuzzed)) <= 12:
            return
        deadline.wait(0.1)
    raise AssertionError(f"{len(sockets_of(fuzzed))} sockets are open")


def sockets_of(server: ServerProcess) -> list[str]:
    """The worker's open sockets: listeners, the good client's, the loop's own."""
    folder = f"/proc/{children_of(server.process.pid)['worker-1']}/fd"
    found = []
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:"):
            found.append(target)
    return found
