"""Rights that end while clients of every worker are connected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx

from tests.e2e.server_process import PASSWORD, SCHEMA, USER, ServerProcess
from tests.e2e.test_commands import lyredb
from tests.e2e.worker_clients import TRIES, WorkerClient, two_workers
from tests.protocols.mqtt import client_frames as frames

PINGRESP = 13


@contextmanager
def eve_at_both(server: ServerProcess) -> Iterator[list[WorkerClient]]:
    """A connection of the user eve at each of the two workers."""
    with ExitStack() as stack:
        found: dict[int, WorkerClient] = {}
        for _ in range(TRIES):
            client = stack.enter_context(WorkerClient(server, user="eve", password="one"))
            found.setdefault(client.worker, client)
            if len(found) == 2:
                break
        assert len(found) == 2
        yield list(found.values())


def put(server: ServerProcess, record_id: str) -> None:
    address = f"{server.http}/Sensor/{record_id}"
    assert httpx.put(address, json={"value": 1}, auth=(USER, PASSWORD)).status_code == 204


def test_lost_rights_and_logins_are_felt_by_connections_of_every_worker() -> None:
    """What the command says is so when it returns: the very next event reaches nobody."""
    with two_workers(SCHEMA) as server:
        place = ("--data", server.data)
        lyredb("role", "set", "reader", "data.Sensor=read", *place)
        lyredb("user", "add", "eve", "--role", "reader", *place, stdin="one\n")
        with eve_at_both(server) as clients:
            for client in clients:
                client.subscribe("Sensor/#")
            put(server, "seen")
            for client in clients:
                assert client.until(3).topic == "Sensor/seen"
            lyredb("role", "set", "reader", *place)
            put(server, "secret")
            for client in clients:
                client.send(frames.PINGREQ)
                arrived = []
                while (packet := client.next()).kind != PINGRESP:
                    arrived.append(packet)
                assert arrived == []
            lyredb("user", "remove", "eve", *place)
            for client in clients:
                ends = client.to_the_end()
                assert [packet.kind for packet in ends] == [14]
