"""MQTT over a Unix socket: who may connect, and what happens at the ends of a server."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server

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
