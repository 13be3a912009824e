"""Every number that a room counts is told, documented, and told by whichever worker is asked."""

from __future__ import annotations

import asyncio
import importlib
import os
import pkgutil
import resource
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

import lyredb
from lyredb.errors import LyreError, Overloaded
from lyredb.protocols.http import Authentication, HttpServer
from lyredb.protocols.net.admission import AdmissionStatistics
from lyredb.server.metrics.endpoint import PRIORITY, MetricsEndpoint
from lyredb.server.metrics.exchange import Keeper, Reporter, pause_after
from lyredb.server.metrics.exposition import exposition
from lyredb.server.metrics.page import page
from lyredb.server.metrics.process import process_statistics
from lyredb.server.metrics.rooms import ROOMS, plugin_sources
from lyredb.server.metrics.snapshot import Snapshot, Subject, decode_snapshot, names_of
from lyredb.server.metrics.table import BY_FIELD, METRICS
from lyredb.storage.sequencer import Answer, Reply, SequencerStatistics
from tests.protocols.http.harness import LOGIN, running


@dataclass(frozen=True)
class Counts:
    """Statistics of a room."""

    things: int
    share: float = 0.5
    broken: bool = True
    name: str = "not a number"


class Wire:
    """Both ends of the stream between workers and writer, in the test's hands."""

    workers = (1, 2)

    def __init__(self) -> None:
        self.is_up = True
        self.is_silent = False
        self.handlers: dict[str, Callable[[int, bytes, Reply], None]] = {}
        self.detach: Callable[[int], None] = lambda _: None

    def serve(self, kind: str, handler: Callable[[int, bytes, Reply], None]) -> None:
        self.handlers[kind] = handler

    def on_detach(self, callback: Callable[[int], None]) -> None:
        self.detach = callback

    def notify(self, worker: int, kind: str, body: bytes) -> None:
        raise AssertionError("numbers are asked for, not pushed")

    def end(self, worker: int) -> WorkerEnd:
        return WorkerEnd(self, worker)


class WorkerEnd:
    def __init__(self, wire: Wire, worker: int) -> None:
        self._wire, self._worker = wire, worker

    def call(self, kind: str, body: bytes, on_reply: Reply) -> None:
        def run() -> None:
            if not self._wire.is_up:
                on_reply(Overloaded("the writer is away"))
            elif not self._wire.is_silent:
                self._wire.handlers[kind](self._worker, body, on_reply)

        asyncio.get_running_loop().call_soon(run)

    def notify(self, kind: str, body: bytes) -> None:
        if self._wire.is_up:
            self._wire.handlers[kind](self._worker, body, _nowhere)

    def on_notice(self, kind: str, handler: Callable[[bytes], None]) -> None:
        raise AssertionError("numbers are asked for, not pushed")

    def on_attach(self, callback: Callable[[], None]) -> None:
        raise AssertionError("the next second tells them anyway")


def _nowhere(answer: Answer) -> None:
    assert not isinstance(answer, LyreError)


def worker(number: int, things: int) -> Subject:
    return Subject("worker", {"room": lambda: Counts(things)}, number)


def statistics_classes() -> set[type]:
    """Every class of the package that is called SomethingStatistics."""
    found: set[type] = set()
    for module in pkgutil.walk_packages(lyredb.__path__, "lyredb."):
        if not module.name.endswith("__main__"):
            names = vars(importlib.import_module(module.name))
            found |= {each for name, each in names.items() if name.endswith("Statistics")}
    return found


def test_the_statistics_of_every_room_are_told() -> None:
    """A class that no room of the table returns would count for nobody."""
    # One is a part of the network's, of the other the writer's and the worker's are made.
    inner: set[type] = {AdmissionStatistics, SequencerStatistics}
    found = statistics_classes() - set(ROOMS.values()) - inner
    assert {each.__name__ for each in found} == set()


@pytest.mark.parametrize("room", ROOMS)
def test_every_field_of_a_room_has_its_row(room: str) -> None:
    """A new number without name and meaning fails here."""
    fields = {"_".join(name) for name in names_of(ROOMS[room])}
    assert fields == {row.field for row in METRICS if row.room == room}


def test_names_follow_the_conventions() -> None:
    """What only grows ends in _total and nothing else does; units are base units."""
    for row in METRICS:
        assert row.name.startswith("lyredb_")
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert not row.name.endswith(("_ms", "_kb", "_mb")), row.name
        assert row.sentence.endswith("."), row.name


def test_the_page_is_what_the_rows_say() -> None:
    written = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert written.read_text() == page(METRICS), "run python -m lyredb.server.metrics.page"


def test_a_snapshot_survives_the_way_to_another_process() -> None:
    """Flags become numbers, text is left out."""
    taken = worker(2, 7).take()
    assert decode_snapshot(taken.encode()) == taken
    assert taken.numbers == {"room": {"things": 7, "share": 0.5, "broken": 1}}


def test_a_room_that_fails_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Counts:
        raise RuntimeError("broken")

    taken = Subject("worker", {"bad": fail, "good": lambda: Counts(1)}, 1).take()
    assert list(taken.numbers) == ["good"]
    assert "the statistics of bad failed" in caplog.text


def test_any_worker_tells_the_numbers_of_all() -> None:
    """Those of others as they were told last, its own as they are."""

    async def body() -> list[Snapshot]:
        wire = Wire()
        Keeper(wire, [Subject("writer", {"room": lambda: Counts(100)})])
        first, second = (Reporter(wire.end(n), worker(n, 10 * n)) for n in (1, 2))
        first.start()
        second.start()
        try:
            return await second.collected()
        finally:
            first.stop()
            second.stop()

    found = {(each.process, each.worker): each.of("room", "things") for each in asyncio.run(body())}
    assert found == {("writer", 0): 100, ("worker", 1): 10, ("worker", 2): 20}


@pytest.mark.parametrize(
    ("took_s", "pause_s"), [(0.0, 1.0), (0.001, 1.0), (0.006, 3.0), (5.0, 10.0)]
)
def test_counting_takes_a_small_part_of_a_workers_time(took_s: float, pause_s: float) -> None:
    """Over very many connections it takes milliseconds in which nobody is served."""
    assert pause_after(took_s) == pytest.approx(pause_s)


def test_a_worker_that_went_away_is_told_no_more() -> None:
    """Its successor has another life: numbers of a dead one would stay for ever."""

    async def body() -> list[int]:
        wire = Wire()
        keeper = Keeper(wire)
        reporter = Reporter(wire.end(1), worker(1, 1))
        reporter.start()
        reporter.stop()
        told = [len(keeper.collected())]
        wire.detach(1)
        return [*told, len(keeper.collected())]

    assert asyncio.run(body()) == [1, 0]


@pytest.mark.parametrize("silent", [True, False])
def test_without_a_writer_a_worker_tells_its_own_numbers(silent: bool) -> None:
    """The metrics say the most when something is broken: they never hang or fail."""

    async def body() -> list[Snapshot]:
        wire = Wire()
        Keeper(wire)
        wire.is_up, wire.is_silent = silent, silent
        return await Reporter(wire.end(1), worker(1, 5)).collected(within_s=0.05)

    [only] = asyncio.run(body())
    assert only.of("room", "things") == 5


def test_the_text_has_each_number_with_its_process() -> None:
    """Parsed by the client library of Prometheus: one family, a sample per process."""
    numbers: dict[str, dict[str, float]] = {
        "engine": {"position": 7},
        "http": {"succeeded": 3, "failed": 1},
    }
    snapshots = [Snapshot("worker", n, 90.0, numbers) for n in (1, 2)]
    kind, text = exposition(snapshots, now_s=100.0)
    assert kind.startswith("text/plain")
    families = {each.name: each for each in text_string_to_metric_families(text.decode())}
    position = families["lyredb_log_position"]
    assert [(each.labels, each.value) for each in position.samples] == [
        ({"process": "worker", "worker": "1"}, 7),
        ({"process": "worker", "worker": "2"}, 7),
    ]
    assert position.documentation == BY_FIELD["engine", "position"].sentence
    responses = families["lyredb_http_responses"]
    assert responses.type == "counter"
    assert [(each.labels["status"], each.value) for each in responses.samples[:2]] == [
        ("2xx", 3),
        ("5xx", 1),
    ]
    assert families["lyredb_process_report_age_seconds"].samples[0].value == 10


def test_openmetrics_is_told_to_who_asks_for_it() -> None:
    snapshot = Snapshot("worker", 1, 0, {"writer": {"groups": 2}})
    kind, text = exposition([snapshot], accept="application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert b'lyredb_commit_groups_total{process="worker",worker="1"} 2.0' in text


def test_a_plugin_of_another_maker_is_told_too() -> None:
    """Under its name, without a row of ours."""

    class Stomp:
        name = "stomp-1"

        def statistics(self) -> Counts:
            return Counts(4)

    taken = Subject("worker", plugin_sources([Stomp(), object()]), 1).take()
    assert b'lyredb_stomp_1_things{process="worker",worker="1"} 4.0' in exposition([taken])[1]


def test_the_numbers_of_a_process_are_the_kernels() -> None:
    """This test's own process, which has a descriptor more with a file open."""
    before = process_statistics()
    with Path(os.devnull).open() as _:
        after = process_statistics(os.getpid())
    assert after.pid == os.getpid()
    assert after.open_files == before.open_files + 1
    assert after.cpu_s > 0
    assert after.resident_bytes > 1_000_000
    assert 1.6e9 < after.started_s == pytest.approx(before.started_s, abs=1)


def test_descriptors_are_counted_where_the_kernel_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before Linux 6.2 the folder has no size: it is listed, which opens one more."""
    counted = process_statistics().open_files
    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", lambda _: SimpleNamespace(st_size=0))
        listed = process_statistics().open_files
    assert listed == counted + 1


def test_a_process_without_a_descriptor_left_still_tells_its_numbers() -> None:
    """That is when they are wanted: every descriptor is open, and so says the number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    probe = os.dup(0)
    os.close(probe)
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        told = process_statistics()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert told.open_files == told.max_files == probe
    assert told.cpu_s > 0


def test_a_process_that_has_ended_is_told_apart() -> None:
    pid = os.spawnlp(os.P_WAIT, "true", "true")
    assert pid == 0
    with pytest.raises(ProcessLookupError):
        process_statistics(2**22 + 1)  # above the largest number a process can have


async def _collected() -> list[Snapshot]:
    return [Snapshot("worker", 1, 0, {"engine": {"position": 7}})]


def ask(anonymous: str, head: bytes = b"", method: str = "GET") -> tuple[int, bytes]:
    """Ask a port over loopback for its metrics."""

    def prepare(server: HttpServer, authentication: Authentication) -> None:
        endpoint = MetricsEndpoint(_collected, authentication, anonymous=anonymous)
        server.mount("metrics", endpoint.wants, endpoint.answer, priority=PRIORITY)

    async def body() -> tuple[int, bytes]:
        async with running(prepare=prepare) as port:
            reply = await port.ask(method, "/metrics", head)
            return reply.status, reply.body

    return asyncio.run(body())


WRONG = b"authorization: Basic " + b64encode(b"admin:wrong") + b"\r\n"


@pytest.mark.parametrize(
    ("anonymous", "head", "status"),
    [
        ("loopback", b"", 200),
        ("loopback", b"x-forwarded-for: 192.0.2.1\r\n", 401),
        ("loopback", b"origin: http://evil.example\r\n", 401),
        ("everybody", b"x-forwarded-for: 192.0.2.1\r\n", 200),
        ("nobody", b"", 401),
        ("nobody", WRONG, 401),
        ("nobody", LOGIN, 200),
    ],
)
def test_who_may_read_is_as_the_setting_says(anonymous: str, head: bytes, status: int) -> None:
    """A web page and a proxy come over loopback too, and are not this machine's people."""
    found, body = ask(anonymous, head)
    assert found == status
    assert (b"lyredb_log_position" in body) == (status == 200)


def test_metrics_can_only_be_read() -> None:
    assert ask("everybody", method="DELETE")[0] == 405
