"""The metrics of real servers: of several processes, and of one."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lyredb.server.metrics.table import METRICS
from tests.e2e.server_process import PASSWORD, SCHEMA, USER, ServerProcess, start_server

DEADLINE_S = 20.0
Samples = Mapping[tuple[str, str, str], float]
"""Values by metric, process and worker."""


@contextmanager
def running(folder: Path, *arguments: str, command: str = "run") -> Iterator[ServerProcess]:
    application = folder / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    server = start_server(application, folder / "data", *arguments, command=command)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.terminate()
        assert server.process.stdout is not None
        server.process.stdout.close()


def scrape(server: ServerProcess) -> Samples:
    with urllib.request.urlopen(f"{server.ready['operations']}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    return {
        (sample.name, sample.labels["process"], sample.labels["worker"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def until(server: ServerProcess, holds: Callable[[Samples], bool]) -> Samples:
    """Scrape until something holds: what other workers tell is up to a second old."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds(found := scrape(server)):
        assert time.monotonic() < deadline, sorted(found)
    return found


def processes(samples: Samples) -> set[tuple[str, str]]:
    return {(process, worker) for _, process, worker in samples}


def put(server: ServerProcess) -> None:
    logins = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    logins.add_password(None, server.http, USER, PASSWORD)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(logins))
    request = urllib.request.Request(
        f"{server.http}/Sensor/a",
        b'{"value": 1}',
        {"content-type": "application/json"},
        method="PUT",
    )
    with opener.open(request, timeout=10) as reply:
        assert reply.status in (200, 201, 204)


@pytest.mark.slow
def test_any_worker_tells_what_all_processes_count(tmp_path: Path) -> None:
    """Supervisor, writer and both workers; a write is counted where it was committed."""
    everybody = {("supervisor", ""), ("writer", ""), ("worker", "1"), ("worker", "2")}
    with running(tmp_path, "--workers", "2") as server:
        before = until(server, lambda samples: processes(samples) == everybody)
        put(server)
        committed = ("lyredb_commit_groups_total", "writer", "")
        after = until(server, lambda samples: samples[committed] > before[committed])
        pids = [after["lyredb_process_pid", *each] for each in everybody]
        assert sorted(pids) == sorted(server.pids)
        assert all(after["lyredb_writer_attached", "worker", number] for number in "12")
        names = {row.name for row in METRICS}
        told = {name for name, _, _ in after} - {"lyredb_process_report_age_seconds"}
        assert told == names


@pytest.mark.slow
def test_one_process_tells_all_of_it(tmp_path: Path) -> None:
    """Fresh in each answer, without a writer beside it."""
    with running(tmp_path, command="dev") as server:
        samples = scrape(server)
        assert processes(samples) == {("server", "")}
        assert samples["lyredb_process_pid", "server", ""] == server.process.pid
        assert ("lyredb_commit_groups_total", "server", "") in samples
        assert "statistics of" not in server.errors()


@pytest.mark.slow
def test_a_stream_is_counted_while_it_is_open(tmp_path: Path) -> None:
    """On the HTTP port, which counts its answer at once."""
    with running(tmp_path, command="dev") as server:
        request = urllib.request.Request(
            f"{server.http}/Sensor/", headers={"accept": "text/event-stream"}
        )
        with urllib.request.urlopen(request, timeout=10) as stream:
            assert stream.readline()
            during = scrape(server)
        is_over = until(server, lambda samples: not samples["lyredb_sse_streams", "server", ""])
    assert during["lyredb_sse_streams", "server", ""] == 1
    assert is_over["lyredb_sse_streams_begun_total", "server", ""] == 1
