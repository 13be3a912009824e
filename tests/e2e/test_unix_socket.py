"""MQTT over a Unix socket: who may connect, and what happens at the ends of a server."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server
from tests.e2e.worker_clients import kill
from tests.protocols.mqtt import client_frames
from tests.server.process_tree import DEADLINE_S, eventually

LYREDB = (sys.executable, "-m", "lyredb")
LOGIN = ("-u", USER, "-P", PASSWORD)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mqtt.sock"


@pytest.fixture
def options(tmp_path: Path, path: Path) -> tuple[str, ...]:
    config = tmp_path / "unix.yaml"
    config.write_text(json.dumps({"mqtt": {"network": {"unixSocket": str(path)}}}))
    return ("--config", str(config))


@pytest.fixture(params=["1", "2"])
def server(request: pytest.FixtureRequest, options: tuple[str, ...]) -> Iterator[ServerProcess]:
    with running_server("", *options, "--workers", request.param) as running:
        yield running


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*LYREDB, *command], capture_output=True, timeout=60)


def test_clients_come_by_the_file(server: ServerProcess, path: Path) -> None:
    unix = ("--unix", str(path))
    done = run("pub", *unix, *LOGIN, "-t", "a", "-m", "x", "-r", "-q", "1")
    assert done.returncode == 0, done.stderr
    assert run("sub", *unix, *LOGIN, "-t", "a", "-C", "1").stdout == b"x\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    refused = run("pub", *unix, "-t", "a", "-m", "x", "-V", "mqttv5")
    assert b"Not authorized" in refused.stderr
    server.terminate()
    assert not path.exists()


def test_what_a_killed_server_left_is_replaced(path: Path, options: tuple[str, ...]) -> None:
    with running_server("", *options) as first:
        first.kill()
        assert path.exists()
    with running_server("", *options):
        told = run("sub", "--unix", str(path), *LOGIN, "-t", "a", "-E")
        assert told.returncode == 0, told.stderr


def test_the_successor_of_a_killed_worker_serves_the_socket(
    path: Path, options: tuple[str, ...]
) -> None:
    """One worker has it. What is left of the killed one is no socket that anybody listens to."""
    unix = ("--unix", str(path))
    with running_server("", *options, "--workers", "2") as server:
        done = run("pub", *unix, *LOGIN, "-t", "a", "-m", "x", "-r", "-q", "1")
        assert done.returncode == 0, done.stderr
        kill(server, "worker-1")
        eventually(lambda: answers(path), "a worker that listens to the socket")
        told = run("sub", *unix, *LOGIN, "-t", "a", "-C", "1", "-W", "30")
        assert told.stdout == b"x\n", told.stderr + server.errors().encode()
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def answers(path: Path) -> bool:
    """Somebody says a word: a socket may outlive what is seen of a killed process by a moment."""
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(DEADLINE_S)
        try:
            one.connect(str(path))
            one.sendall(client_frames.connect(4))
            return bool(one.recv(1))
        except OSError:
            return False
