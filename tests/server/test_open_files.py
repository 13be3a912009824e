"""Every process of a server may have as many files open as the system allows."""

from __future__ import annotations

import resource
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lyredb.server.composition import settings_table
from lyredb.server.open_files import RESERVE, warn_of_too_few
from tests.e2e.raw_mqtt import RawMqtt, raw_mqtt
from tests.e2e.server_process import SCHEMA, ServerProcess, start_server
from tests.server.process_tree import children_of, descriptors_of, eventually

SOFT, HARD = 256, 300
FLOOD = 400


@contextmanager
def narrow_server(folder: Path, command: str) -> Iterator[ServerProcess]:
    """A server that was started with few files, as ``ulimit`` would do it."""
    application = folder / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    server = start_server(
        application,
        folder / "data",
        command=command,
        prefix=("prlimit", f"--nofile={SOFT}:{HARD}"),
    )
    try:
        yield server
    finally:
        server.kill()
        assert server.process.stdout is not None
        server.process.stdout.close()


@pytest.mark.parametrize("command", ["run", "dev"])
def test_each_process_has_the_hard_limit(tmp_path: Path, command: str) -> None:
    with narrow_server(tmp_path, command) as server:
        pids = server.pids
        assert len(pids) == (3 if command == "run" else 1)
        assert {resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids} == {(HARD, HARD)}
        said = "each worker may have 25000 connections" in server.errors()
        assert said is (command == "run")


def test_who_finds_no_file_left_is_closed_and_the_server_goes_on(tmp_path: Path) -> None:
    """Those that are in stay in, those beyond are ended, and places come back.

    Without a file nothing can be accepted, so a server that does nothing then leaves
    peers waiting, and one that tries again at once does nothing else.
    """
    with narrow_server(tmp_path, "run") as server, raw_mqtt(server) as first:
        crowd = [RawMqtt(server) for _ in range(FLOOD)]
        worker = children_of(server.process.pid)["worker-1"]
        eventually(lambda: descriptors_of(worker) >= HARD - 1, "no file left")
        eventually(lambda: ended(crowd) >= FLOOD - HARD, "all others are turned away")
        assert ended(crowd) < FLOOD, "those who found a place keep it"
        first.ping()
        for client in crowd:
            client.close()
        eventually(lambda: descriptors_of(worker) < HARD // 2, "files come back")
        with raw_mqtt(server) as later:
            later.ping()
        first.ping()


def ended(clients: list[RawMqtt]) -> int:
    """How many the server has ended: one that is open has nothing to say to who says nothing."""
    poll = select.poll()
    for client in clients:
        poll.register(client.socket, select.POLLIN)
    return len(poll.poll(0))


@pytest.mark.parametrize(
    ("allowed", "workers", "is_said"),
    [
        (25_000 + RESERVE, 1, False),
        (25_000 + RESERVE - 1, 1, True),
        (6_250 + RESERVE, 4, False),
        (6_250 + RESERVE - 1, 4, True),
        (resource.RLIM_INFINITY, 1, False),
    ],
)
def test_a_limit_below_what_connections_need_is_said(
    caplog: pytest.LogCaptureFixture, allowed: int, workers: int, is_said: bool
) -> None:
    """It is of a process, and each worker has only its share of the connections."""
    settings = settings_table(()).load(files=(), environment={}, flags={})
    warn_of_too_few(allowed, settings, workers=workers)
    assert bool(caplog.records) is is_said
