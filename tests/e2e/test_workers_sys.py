"""``$SYS`` and replays on a server of two workers: each tells of the whole server."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.e2e.server_process import ServerProcess, running_server
from tests.e2e.worker_clients import WorkerClient, client_of
from tests.protocols.mqtt import client_frames as frames

_ENVIRONMENT = {"LYREDB_THREADS_TELL": "true", "LYREDB_MQTT_SYS_INTERVAL": "1s"}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running_server("", "--workers", "2", environment=_ENVIRONMENT) as process:
        yield process


def until_told(client: WorkerClient, value: bytes) -> None:
    while client.until(3).payload != value:
        pass  # until the deadline of the client


def test_both_workers_tell_the_clients_of_both(server: ServerProcess) -> None:
    with client_of(server, 1) as one, client_of(server, 2) as two:
        for client in (one, two):
            client.subscribe("$SYS/broker/clients/connected")
        until_told(one, b"2")
        until_told(two, b"2")
        for number in range(5):
            one.publish(f"counted/{number}", b"x", 1, retain=True)
        two.subscribe("$SYS/broker/retained messages/count")
        until_told(two, b"5")


def test_what_one_worker_wrote_is_replayed_by_the_other(server: ServerProcess) -> None:
    """As soon as it is acknowledged, with both forms of asking."""
    with client_of(server, 1) as one, client_of(server, 2) as two:
        for number in range(20):
            one.publish("replayed/a", b"%d" % number, 1, retain=True)
        two.subscribe(f"$query/{quote('replayed/a?previousCount=3', safe='')}/#")
        assert two.messages_to(b"19") == [b"17", b"18", b"19"]
        asked = b"\x26" + frames.text("startTime") + frames.text("0")
        two.send(frames.subscribe("replayed/a", version=5, props=asked))
        two.until(9)
        assert two.messages_to(b"19") == [b"%d" % number for number in range(20)]
