"""One subscriber reads nothing, beside a hundred good ones: they hear all, it costs little."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.clients import rest
from tests.e2e.crowd import Crowd, Listener, marked
from tests.e2e.raw_http import RawHttp, request
from tests.e2e.raw_mqtt import RawMqtt, raw_mqtt
from tests.e2e.server_process import ServerProcess
from tests.e2e.strict_server import resident_bytes, strict_server
from tests.protocols.mqtt import client_frames as frames
from tests.server.process_tree import eventually

GOOD = 100
MESSAGES = 800
MESSAGE_BYTES = 10_000
"""8 MB for each: more than its buffer of 100 kB and what the system keeps for it (4 MB)."""
WINDOW = 65_536
"""Of the stuck one; with less the system is slow when it reads at last."""
MOST_MEMORY = 32_000_000
SMALL_BUFFERS = """
authentication.cacheTTL: 1h
mqtt.bufferSize: 100kB
sse.bufferSize: 100kB
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with strict_server(SMALL_BUFFERS) as process:
        yield process


def mqtt_listener(server: ServerProcess, window: int | None) -> socket.socket:
    client = RawMqtt(server)
    if window is not None:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.log_in()
    client.send(frames.subscribe(("Sensor/wide/#", 0)))
    client.until(9)
    return client.socket


def sse_listener(server: ServerProcess, window: int | None) -> socket.socket:
    client = RawHttp(server)
    if window is not None:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.send(request("GET", "/Sensor/wide/", "Accept: text/event-stream"))
    status, _ = client.head()
    assert status == 200
    return client.socket


def publish_all(server: ServerProcess) -> None:
    """Direct messages, one after the other: each is acknowledged before the next."""
    with raw_mqtt(server) as publisher:
        for number in range(MESSAGES):
            payload = marked(number, MESSAGE_BYTES).encode()
            assert publisher.publish("Sensor/wide/1", payload, number + 1) == 0


def write_all(server: ServerProcess) -> None:
    """Records: what the log holds."""
    with rest(server) as client:
        for number in range(MESSAGES):
            reply = client.put("/Sensor/wide/1", json={"site": marked(number, MESSAGE_BYTES)})
            assert reply.status_code in (201, 204), reply.text


WAYS = {
    "mqtt, messages": (mqtt_listener, publish_all),
    "mqtt, records": (mqtt_listener, write_all),
    "sse, messages": (sse_listener, publish_all),
    "sse, records": (sse_listener, write_all),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_subscriber_that_reads_nothing_costs_a_hundred_others_nothing(
    server: ServerProcess, way: str
) -> None:
    """When it reads at last it is served, or told: never silently short of the end."""
    listen, write = WAYS[way]
    with rest(server) as client:
        client.delete("/Sensor/wide/1")
    with ExitStack() as stack:
        stuck = stack.enter_context(listen(server, WINDOW))
        sockets = [stack.enter_context(listen(server, None)) for _ in range(GOOD)]
        before = resident_bytes(server)
        crowd = Crowd(sockets, MESSAGES - 1)
        write(server)
        crowd.join()
        for listener in crowd.listeners:
            assert listener.heard == list(range(MESSAGES)), way
        assert resident_bytes(server) - before < MOST_MEMORY
        assert_is_served_in_the_end(server, way, stuck)


def assert_is_served_in_the_end(server: ServerProcess, way: str, stuck: socket.socket) -> None:
    """What the log holds is caught up with over SSE; else the oldest came, and the next comes."""
    late = Listener(stuck)
    stuck.settimeout(10)
    if way == "sse, records":
        read_until(late, lambda: late.heard[-1:] == [MESSAGES - 1])
        assert late.heard == list(range(MESSAGES)), "exactly once, in order"
        return
    with raw_mqtt(server) as publisher:

        def hears_of(number: int) -> bool:
            publisher.publish("Sensor/wide/1", marked(number, 20).encode(), 1)
            return number in late.heard or bool(take(late) and number in late.heard)

        eventually(lambda: hears_of(MESSAGES + 1), "a message once it reads")
    assert late.has_gap is (way == "sse, messages")
    kept = [number for number in late.heard if number < MESSAGES]
    assert kept == list(range(len(kept))), "what came before its buffer was full"
    assert 0 < len(kept) < MESSAGES, "its buffer was not full: the test does not test"


def take(listener: Listener) -> bool:
    """Read what is there within a moment."""
    listener.socket.settimeout(0.2)
    try:
        data = listener.socket.recv(262_144)
    except TimeoutError:
        return False
    assert data, "the server ended it"
    listener.take(data)
    return True


def read_until(listener: Listener, holds: Callable[[], bool]) -> None:
    while not holds():
        data = listener.socket.recv(262_144)
        assert data, "the server ended it"
        listener.take(data)
