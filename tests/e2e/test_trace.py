"""``lyredb trace``: packets of a client, on whichever worker it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import ServerProcess, running_server
from tests.protocols.mqtt import client_frames as frames


@pytest.fixture(params=[("run", "--workers", "2"), ("dev",)], ids=["run", "dev"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    command, *arguments = request.param
    with running_server("", *arguments, command=command) as running:
        yield running


@contextmanager
def tracing(server: ServerProcess, client: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """A trace that has begun, and ends after so many lines."""
    place = ("--data", str(server.data), "--count", str(count))
    command = (sys.executable, "-m", "lyredb", "trace", client, *place)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            assert process.stderr.readline().startswith("lyredb: waits for packets")
            yield process
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    """All that it prints until it ends, without the times."""
    out, _ = process.communicate(timeout=30)
    return [line.split(" ", 1)[1] for line in out.splitlines()]


def test_a_client_is_traced_from_its_connect_to_its_end(server: ServerProcess) -> None:
    with tracing(server, "wanted", 6) as trace:
        with RawMqtt(server, 5) as other:
            other.log_in("other")
        with RawMqtt(server, 5) as client:
            client.log_in("wanted")
            client.publish("a", b"x", 7)
            client.send(frames.disconnect(0))
        told = lines_of(trace)
    assert told[0].startswith("> CONNECT MQTT 5, client 'wanted', keep alive 0 s, clean, user")
    assert told[1].startswith("< CONNACK 0x00 success receive-maximum=")
    assert told[2:] == [
        "> PUBLISH 'a' q1 r0 d0 m7 1 bytes 'x'",
        "< PUBACK m7",
        "> DISCONNECT 0x00 success",
        "- the connection ended",
    ]


def test_a_client_that_is_connected_already_is_traced(server: ServerProcess) -> None:
    """Its subscription's messages too, which another path writes."""
    with RawMqtt(server, 4) as client:
        client.log_in("wanted")
        with tracing(server, "wanted", 5) as trace:
            client.send(frames.subscribe(("t", 0)))
            client.until(9)
            client.send(frames.publish("t", b"1"))
            client.until(3)
            client.send(frames.PINGREQ)
            client.until(13)
            told = lines_of(trace)
    assert told == [
        "> SUBSCRIBE m1 't' q0",
        "< SUBACK m1 0x00",
        "> PUBLISH 't' q0 r0 d0 1 bytes '1'",
        "< PUBLISH 't' q0 r0 d0 1 bytes '1'",
        "> PINGREQ",
    ]
