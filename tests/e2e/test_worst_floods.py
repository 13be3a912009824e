"""Publishers without flow control and floods of connections, beside clients that behave."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.worst.bombs import client_frame
from bench.worst.cost import REMEMBER
from tests.e2e.bystander import undisturbed
from tests.e2e.raw_http import RawHttp, raw_http, request
from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import SCHEMA, ServerProcess, running_server
from tests.e2e.strict_server import resident_bytes
from tests.e2e.worker_clients import client_of
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.net.proxy_frames import proxy4
from tests.server.process_tree import eventually

FLOOD_S = 2.0
MOST_MEMORY = 64_000_000
"""Of four processes: buffers to and from the other worker, and of the writer."""
MOST_PONG_MEMORY = 8_000_000
UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
FLOODER, OTHER = "203.0.113.7", "203.0.113.8"
PER_ADDRESS = 20


@pytest.fixture(scope="module")
def workers() -> Iterator[ServerProcess]:
    tells = {"LYREDB_THREADS_TELL": "true"}
    with running_server(SCHEMA, "--workers", "2", environment=tells | REMEMBER) as server:
        yield server


def packets(topic: str, qos: int, *, retain: bool) -> bytes:
    return b"".join(
        frames.publish(
            f"{topic}/{number % 50}",
            b'{"value":1}',
            version=5,
            qos=qos,
            packet_id=number,
            retain=retain,
        )
        for number in range(1, 2_000)
    )


@pytest.mark.parametrize(
    ("qos", "retain"),
    [(0, False), (0, True), (1, False), (1, True)],
    ids=["QoS 0", "QoS 0 retained", "QoS 1", "QoS 1 retained"],
)
def test_a_publisher_without_flow_control_is_bounded(
    workers: ServerProcess, qos: int, retain: bool
) -> None:
    """It reads nothing, its subscriber on the other worker neither; everybody else goes on."""
    data = packets("Sensor/flood", qos, retain=retain)
    with undisturbed(workers), client_of(workers, 2) as slow, client_of(workers, 1) as flooder:
        slow.subscribe(("Sensor/flood/#", 0))
        before = resident_bytes(workers)
        sent = flooder.flood(data, FLOOD_S)
        assert sent > len(data), "it was a flood"
        grown = resident_bytes(workers) - before
        assert grown < MOST_MEMORY, grown


PINGS = 250_000
PING_BYTES = 120


def test_who_pings_and_never_reads_has_one_answer_waiting(workers: ServerProcess) -> None:
    """Of 31 MB of pings; when it reads at last, its last ping is answered (RFC 6455 §5.5.3)."""
    with raw_http(workers) as client, undisturbed(workers):
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.send(request("GET", "/Sensor/pinged", *UPGRADE))
        assert client.head()[0] == 101
        before = resident_bytes(workers)
        pings = (client_frame(0x89, b"%0*d" % (PING_BYTES, one)) for one in range(PINGS))
        client.socket.sendall(b"".join(pings))
        assert resident_bytes(workers) - before < MOST_PONG_MEMORY
        answered = pongs_until(client, PINGS - 1)
        assert answered == sorted(set(answered)), "in order, each once"
        assert len(answered) < PINGS, "the system took them all: the test does not test"


def pongs_until(client: RawHttp, last: int) -> list[int]:
    """The numbers of the pongs up to one; a few frames of other kinds come first."""
    found: list[int] = []
    while not found or found[-1] != last:
        first, size = client.exactly(2)
        size = int.from_bytes(client.exactly(2)) if size == 126 else size
        payload = client.exactly(size)
        if first == 0x8A:
            found.append(int(payload))
    return found


TINY_FRAMES = 40_000
TINY = {"pings": (0x89, b"x"), "fragments": (0x00, b"x"), "messages": (0x82, b"x")}


@pytest.mark.parametrize("kind", TINY)
def test_tiny_frames_are_answered_in_order_and_disturb_nobody(
    workers: ServerProcess, kind: str
) -> None:
    """Reads full of them, which take many turns; the ping behind them is answered."""
    begin = client_frame(0x02, b"x") if kind == "fragments" else b""
    end = client_frame(0x80, b"x") if kind == "fragments" else b""
    with raw_http(workers) as client, undisturbed(workers):
        client.send(request("GET", "/Sensor/tiny", *UPGRADE))
        assert client.head()[0] == 101
        flood = begin + client_frame(*TINY[kind]) * TINY_FRAMES + end
        client.socket.sendall(flood + client_frame(0x89, b"1234"))
        seen = bytearray()
        while not seen.endswith(b"\x8a\x041234"):
            seen += client.exactly(1)


@contextmanager
def proxied_server(connect_rate: int) -> Iterator[ServerProcess]:
    """A server that believes us who we are, and takes few connections of one address."""
    environment = {
        "LYREDB_NETWORK_PROXY_PROTOCOL": "required",
        "LYREDB_NETWORK_MAX_CONNECTIONS_PER_ADDRESS": str(PER_ADDRESS),
        "LYREDB_NETWORK_CONNECT_RATE": str(connect_rate),
    }
    with running_server(SCHEMA, environment=environment) as server:
        yield server


class FromAddress(RawMqtt):
    """A connection that a proxy made for somebody."""

    def __init__(self, server: ServerProcess, host: str) -> None:
        super().__init__(server)
        self.send(proxy4(host, 40_000))


def is_open(client: RawMqtt) -> bool:
    """The server has not ended the connection; it says nothing before the first packet."""
    client.socket.settimeout(0)
    try:
        return client.socket.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_a_flood_of_connections_is_cut_and_others_are_served() -> None:
    """At most so many of one address are open, whatever it does; another notices nothing."""
    with proxied_server(1_000) as server, FromAddress(server, OTHER) as first:
        first.log_in("first")
        crowd: list[FromAddress] = []
        for _ in range(10):
            crowd += [FromAddress(server, FLOODER) for _ in range(PER_ADDRESS * 2)]
            first.ping()
            with FromAddress(server, OTHER) as later:
                later.log_in("later")
        eventually(lambda: sum(map(is_open, crowd)) <= PER_ADDRESS, "the rest is cut")
        assert sum(map(is_open, crowd)) == PER_ADDRESS, "as many as are allowed stay"
        for client in crowd:
            client.close()
        first.ping()
        assert f"refused a connection of {FLOODER}" in server.errors()
        assert f"refused a connection of {OTHER}" not in server.errors()
        assert len(server.errors().splitlines()) < 20, "a flood does not fill the log"


def test_who_connects_and_goes_over_and_over_is_cut_by_the_rate() -> None:
    """Ten seconds' worth of connections come at once, later ones as fast as is allowed."""
    with proxied_server(2) as server, FromAddress(server, OTHER) as first:
        first.log_in("first")
        answered = 0
        for number in range(150):
            with FromAddress(server, FLOODER) as client:
                client.send(frames.connect(4, f"flood-{number}"))  # refused, but not unheard
                answered += bool(client.to_the_end())
        assert 20 <= answered < 150, answered
        first.ping()
        assert "more often than 2 times a second" in server.errors()
        with FromAddress(server, OTHER) as later:
            later.log_in("later")
