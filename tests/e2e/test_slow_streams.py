"""A slow reader of a server with two workers: over uvloop, a writer process, and peers."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import PASSWORD, SCHEMA, USER, ServerProcess, running_server
from tests.protocols.mqtt import client_frames as frames
from tests.server.process_tree import eventually

SITE = "x" * 100_000
WRITES = 100
"""Of `SITE`: more than the kernel takes for one connection."""
MESSAGES = 50


def open_stream(server: ServerProcess) -> socket.socket:
    """Ask for the stream of ``/Sensor/``; nothing is read."""
    stream = socket.create_connection(("127.0.0.1", server.http_port), 10)
    login = b64encode(f"{USER}:{PASSWORD}".encode())
    stream.sendall(
        b"GET /Sensor/ HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n"
        b"authorization: Basic " + login + b"\r\n\r\n"
    )
    return stream


def events(stream: socket.socket) -> Iterator[tuple[str, dict[str, object]]]:
    """Read names and data of events as they come."""
    with stream.makefile("rb") as file:
        name = ""
        for line in file:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                yield name, json.loads(line[6:])
                name = ""


def set_aside(server: ServerProcess) -> float:
    """How many readers are, on all workers."""
    answer = httpx.get(f"{server.ready['operations']}/metrics", auth=(USER, PASSWORD))
    lines = answer.text.splitlines()
    found = [one for one in lines if one.startswith("lyredb_subscribers_aside{")]
    return sum(float(one.rpartition(" ")[2]) for one in found)


@pytest.mark.slow
def test_slow_reader_gets_each_write_of_both_workers_once_and_the_number_of_lost_messages() -> None:
    with running_server(SCHEMA, "--workers", "2") as server, open_stream(server) as stream:
        told = events(stream)
        assert next(told)[0] == "ready"
        publishers = [RawMqtt(server) for _ in range(6)]  # on both workers, almost surely
        for publisher in publishers:
            publisher.log_in()
        for number in range(WRITES):
            url = f"{server.http}/Sensor/{number}"  # a connection each: both workers
            httpx.put(url, json={"site": SITE}, auth=(USER, PASSWORD)).raise_for_status()
        eventually(lambda: set_aside(server) == 1, "a reader that is set aside")
        for number in range(MESSAGES):
            publisher = publishers[number % len(publishers)]
            publisher.send(frames.publish("Sensor/message", b"lost"))
        for publisher in publishers:
            publisher.send(b"\xc0\x00")
            publisher.until(13)  # what was sent before the ping has been published
            publisher.close()
        httpx.put(f"{server.http}/Sensor/last", json={}, auth=(USER, PASSWORD)).raise_for_status()
        ids: list[object] = []
        gaps: list[object] = []
        while ids[-1:] != ["last"]:
            name, data = next(told)
            assert name in ("", "gap"), name
            if name == "gap":
                gaps.append(data["messages"])
            else:
                ids.append(data["id"])
        assert ids == [*map(str, range(WRITES)), "last"]
        assert gaps == [MESSAGES]
