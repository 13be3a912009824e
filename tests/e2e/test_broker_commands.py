"""Clients and retained messages by command, beside servers of one process and of several."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import httpx
import pytest

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import ServerProcess, running_server
from tests.e2e.test_commands import ADMIN, lyredb
from tests.protocols.mqtt import client_frames as frames


@pytest.fixture(params=[("run", "--workers", "2"), ("dev",)], ids=["run", "dev"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server of several processes, and one of one."""
    command, *arguments = request.param
    with running_server("", *arguments, command=command) as running:
        yield running


def clients_of(server: ServerProcess) -> dict[str, dict[str, object]]:
    told = json.loads(lyredb("clients", "list", "--json", "--data", server.data))
    return {one["clientId"]: one for one in told}


def test_clients_of_all_workers_are_listed_and_ended(server: ServerProcess) -> None:
    """Eight connections reach both of two workers but once in 128 runs, and then one."""
    with ExitStack() as stack:
        connections = [stack.enter_context(RawMqtt(server, 5)) for _ in range(8)]
        for number, one in enumerate(connections):
            one.log_in(f"client-{number}")
        assert_listed_and_ended(server, connections)


def assert_listed_and_ended(server: ServerProcess, connections: Sequence[RawMqtt]) -> None:
    connections[0].send(frames.subscribe(("a/+", 1), "b", version=5))
    connections[0].until(9)
    told = clients_of(server)
    assert sorted(told) == [f"client-{number}" for number in range(8)]
    first = told["client-0"]
    assert (first["connected"], first["protocol"], first["subscriptions"]) == (True, "MQTT 5", 2)
    assert first["filters"] == ["a/+", "b"]
    assert str(first["address"]).startswith("127.0.0.1:")
    lyredb("clients", "kick", "client-3", "--data", server.data)
    assert connections[3].until(14).reason == 0x98
    assert "client-3" not in clients_of(server)
    refused = lyredb("clients", "kick", "client-3", "--data", server.data, code=1)
    assert refused == "lyredb: there is no client 'client-3' connected\n"


def test_retained_messages_are_listed_and_cleared(server: ServerProcess) -> None:
    """And a subscriber is told that they are gone, as by an empty retained message."""
    with RawMqtt(server, 4) as client:
        client.log_in("publisher")
        for number, topic in enumerate(("a/1", "a/2", "b"), 1):
            client.publish(topic, b"x", number, retain=True)
        client.send(frames.subscribe(("a/1", 1), packet_id=9))
        assert client.until(3).payload == b"x"
        listed = lyredb("retained", "list", "a/#", "--json", "--data", server.data)
        assert [one["topic"] for one in json.loads(listed)] == ["a/1", "a/2"]
        cleared = lyredb("retained", "clear", "a/#", "--data", server.data)
        assert cleared == "cleared 2 retained messages\n"
        assert client.until(3).payload == b""
    assert "b  " in lyredb("retained", "list", "--data", server.data)


def test_no_name_of_a_client_reaches_the_terminal_unread(server: ServerProcess) -> None:
    """It could move the cursor, or look like the row of another client."""
    with RawMqtt(server, 5) as client, RawMqtt(server, 4) as other:
        client.log_in("a\x1b[2J\nb")
        other.log_in("z")
        client.publish("t\x07", b"x", 1, retain=True)
        listed = lyredb("clients", "list", "--data", server.data).splitlines()
        assert [line.partition("  ")[0] for line in listed] == ["CLIENT", r"a\x1b[2J\nb", "z"]
        assert r"t\x07" in lyredb("retained", "list", "--data", server.data)
        part = ("clients", "list", "--limit", "1", "--json", "--data", server.data)
        assert [one["clientId"] for one in json.loads(lyredb(*part))] == ["a\x1b[2J\nb"]


def test_without_a_server_retained_messages_are_still_there(server: ServerProcess) -> None:
    with RawMqtt(server, 4) as client:
        client.log_in()
        client.publish("kept", b"x", 1, retain=True)
    server.terminate()
    assert lyredb("retained", "clear", "#", "--data", server.data).startswith("cleared 1 ")
    assert clients_of(server) == {}
    assert "no server runs" in lyredb("clients", "kick", "x", "--data", server.data, code=1)


def test_super_users_ask_by_rest(server: ServerProcess) -> None:
    with RawMqtt(server, 5) as client, httpx.Client(base_url=server.http, auth=ADMIN) as rest:
        client.log_in("a/b c")
        client.publish("kept/1", b"x", 1, retain=True)
        assert rest.get("/$clients/a%2Fb%20c").json()["connected"] is True
        told = rest.get("/$clients?limit=1").json()
        assert [one["clientId"] for one in told["clients"]] == ["a/b c"]
        assert (told["missingWorkers"], told["after"]) == (0, "")
        assert rest.get("/$retained?filter=kept/%2B").json()["messages"][0]["topic"] == "kept/1"
        assert rest.delete("/$retained?filter=kept/%23").json() == {"count": 1}
        ended = rest.delete("/$clients/a%2Fb%20c").json()
        assert ended == {"connections": 1, "session": False}
        assert client.until(14).reason == 0x98
        assert rest.get("/$clients/a%2Fb%20c").status_code == 404
        assert rest.delete("/$retained").status_code == 400
        assert rest.get("/$clients?limit=0").status_code == 400
        assert rest.post("/$clients").status_code == 405


def test_nobody_else_asks_by_rest(server: ServerProcess) -> None:
    lyredb("role", "set", "reader", "*.*=read", "--data", server.data)
    place = ("--role", "reader", "--data", server.data)
    lyredb("user", "add", "eve", *place, stdin="one\n")
    with httpx.Client(base_url=server.http, auth=("eve", "one")) as rest:
        for path in ("/$clients", "/$clients/x", "/$retained"):
            assert rest.get(path).status_code == 403
            assert rest.delete(f"{path}?filter=%23").status_code == 403
