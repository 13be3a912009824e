"""Commands beside a running server: what they say is so when they return."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.server_process import (
    PASSWORD,
    SCHEMA,
    USER,
    ServerProcess,
    running_server,
    start_server,
)

ENVIRONMENT = {name: value for name, value in os.environ.items() if "LYREDB" not in name}
ADMIN = (USER, PASSWORD)
EVE = ("eve", "one")


def lyredb(*arguments: str | Path, stdin: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "lyredb", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture(params=[("run", "--workers", "2"), ("dev",)], ids=["run", "dev"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server of several processes, and one of one."""
    command, *arguments = request.param
    with running_server(SCHEMA, *arguments, command=command) as running:
        yield running


def statuses(server: ServerProcess, method: str, path: str, user: tuple[str, str]) -> set[int]:
    """What all workers answer: each request comes over a connection of its own."""
    found = set()
    for _ in range(12):
        url = f"{server.http}{path}"
        reply = httpx.request(method, url, auth=user, json={"value": 1}, verify=False)
        found.add(reply.status_code)
    return found


def test_users_and_rights_hold_at_every_worker_when_the_command_returns(
    server: ServerProcess,
) -> None:
    place = ("--data", server.data)
    lyredb("role", "set", "reader", "data.Sensor=read", *place)
    lyredb("user", "add", "eve", "--role", "reader", *place, stdin="one\n")
    assert statuses(server, "GET", "/Sensor/", EVE) == {200}
    assert statuses(server, "PUT", "/Sensor/a", EVE) == {403}
    lyredb("role", "set", "reader", "data.Sensor=read,insert,update", *place)
    assert statuses(server, "PUT", "/Sensor/a", EVE) == {204}
    lyredb("role", "set", "reader", *place)
    assert statuses(server, "GET", "/Sensor/a", EVE) == {403}
    lyredb("user", "deactivate", "eve", *place)
    assert statuses(server, "GET", "/Sensor/a", EVE) <= {401, 429}


def test_status_tells_every_process(server: ServerProcess) -> None:
    told: dict[str, Any] = json.loads(lyredb("status", "--json", "--data", server.data))
    roles = [process["role"] for process in told["processes"]]
    assert roles in (["server"], ["supervisor", "writer", "worker", "worker"])
    assert told["processes"][0]["pid"] == server.process.pid
    assert all(process["memoryBytes"] > 10_000_000 for process in told["processes"])
    assert {one["position"] for one in told["processes"] if one["role"] == "worker"} <= {
        told["position"]
    }
    text = lyredb("status", "--data", server.data)
    assert f"data in {server.data}" in text
    assert "PROCESS" in text


def test_a_backup_beside_the_server_restores_to_what_was_written(server: ServerProcess) -> None:
    copy, again = server.data.parent / "copy", server.data.parent / "again"
    for number in range(5):
        reply = httpx.put(f"{server.http}/Counter/{number}", json={"n": number}, auth=ADMIN)
        assert reply.status_code == 204
    lyredb("backup", copy, "--data", server.data)
    assert "all agree" in lyredb("check", "--data", server.data)
    assert "nothing to do" in lyredb("upgrade", "--data", server.data)
    lyredb("restore", copy, "--data", again)
    restored = start_server(server.data.parent / "app", again)
    try:
        reply = httpx.get(f"{restored.http}/Counter/", auth=ADMIN)
        assert len(reply.json()) == 5
    finally:
        restored.terminate()
        assert restored.process.stdout is not None
        restored.process.stdout.close()


def test_roles_of_the_application_hold_from_the_start(tmp_path: Path) -> None:
    """And a file that is wrong keeps the server from starting with other rights."""
    application = tmp_path / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    (application / "roles.yaml").write_text("anonymous:\n  data:\n    Sensor: {read: true}\n")
    server = start_server(application, tmp_path / "data")
    try:
        assert httpx.get(f"{server.http}/Sensor/").status_code == 200
        assert httpx.get(f"{server.http}/Counter/").status_code == 401
        assert httpx.put(f"{server.http}/Sensor/a", json={}).status_code == 401
    finally:
        server.terminate()
        assert server.process.stdout is not None
        server.process.stdout.close()
    (application / "roles.yaml").write_text("anonymous:\n  data:\n    Sensor: {fly: true}\n")
    told = lyredb(
        *("run", application, "--data", tmp_path / "data", "--http-port", "0"),
        *("--mqtt-port", "0", "--operations-port", "0"),
        code=1,
    )
    assert "roles.yaml" in told
    assert "'fly' is no right" in told


def test_a_browser_login_works_on_every_worker() -> None:
    """The session is a record: who set the cookie does not matter."""
    with running_server(SCHEMA, "--workers", "2") as server:
        with httpx.Client(base_url=server.http, headers={"origin": server.http}) as browser:
            fields = {"username": USER, "password": PASSWORD}
            assert browser.post("/$session", json=fields).json()["user"] == USER
            cookies = dict(browser.cookies)
        for _ in range(12):
            reply = httpx.get(f"{server.http}/Sensor/", cookies=cookies)
            assert reply.status_code == 200
        token = httpx.post(f"{server.http}/$token", json=fields).json()["access_token"]
        for _ in range(12):
            head = {"authorization": f"Bearer {token}"}
            assert httpx.get(f"{server.http}/Sensor/", headers=head).status_code == 200
