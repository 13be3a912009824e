"""A writer process is killed; its workers learn exactly what was written."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from lyredb.errors import LyreError, Overloaded, RecordExists
from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Applied, Precondition
from lyredb.storage.record import decode_header
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.service import WriterService
from lyredb.storage.sequencer import Result
from lyredb.storage.writer import Writer
from tests.faults.killing import SETTINGS
from tests.faults.shim import HERE, python_environment
from tests.storage.store import SLOT, TABLE, add, body_of, put

DEADLINE_S = 20.0
WORKERS = (1, 2)


@dataclass
class Ledger:
    """What was asked and what came of it; every number is a transaction of its own."""

    results: dict[int, Result] = field(default_factory=dict)
    order: dict[int, list[int]] = field(default_factory=lambda: {one: [] for one in WORKERS})
    last: int = 0

    def submit(self, worker: RemoteWriter) -> None:
        """Ask for a record of its own and one more in the sum; each tenth is to be rejected."""
        self.last += 1
        number = self.last
        record = put("there" if number % 10 == 0 else f"k{number}", value=number)
        creation = changed(record, precondition=Precondition(must_be_absent=True))

        def done(result: Result) -> None:
            assert number not in self.results, "answered twice"
            self.results[number] = result
            self.order[worker.worker].append(number)

        worker.submit([creation, add("sum", value=1)], done)

    @property
    def is_complete(self) -> bool:
        return len(self.results) == self.last

    def problems(self, engine: Engine) -> list[str]:
        """Compare every answer with what is there."""
        wrong = [problem for number in self.results for problem in self._problem(engine, number)]
        stored = engine.record(SLOT, encode_key("sum"))
        total = 0 if stored is None else body_of(stored)["value"]
        applied = sum(isinstance(result, Applied) for result in self.results.values())
        if total != applied:
            wrong.append(f"{applied} were said to be applied, the sum is {total}")
        for worker, numbers in self.order.items():
            if numbers != sorted(numbers):
                wrong.append(f"worker {worker} was answered out of order")
        return wrong

    def _problem(self, engine: Engine, number: int) -> list[str]:
        result = self.results[number]
        stored = engine.record(SLOT, encode_key(f"k{number}"))
        if isinstance(result, Applied):
            if stored is None or decode_header(stored).version != result.outcomes[0].version:
                return [f"{number} was said to be applied and is not as it was said"]
        elif stored is not None:
            return [f"{number} was answered with {result!r} and is there"]
        if number % 10 and not isinstance(result, Applied | Overloaded):
            return [f"{number} was answered with {result!r}"]
        return []


class Site:
    """A data directory, its present writer process, and workers in this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process: asyncio.subprocess.Process | None = None
        self.engine: Engine | None = None
        self.workers: list[RemoteWriter] = []

    async def start_writer(self, *, die_at: int = 0) -> None:
        """Start a writer and attach the workers to it."""
        pairs = [socket.socketpair() for _ in WORKERS]
        theirs = [pair[1].fileno() for pair in pairs]
        streams = [f"{number}:{fd}" for number, fd in zip(WORKERS, theirs, strict=True)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "writer_process.py"),
            str(self._path),
            str(die_at),
            *streams,
            env=python_environment(),
            stdout=asyncio.subprocess.PIPE,
            pass_fds=theirs,
        )
        assert self._process.stdout is not None
        for _, their in pairs:
            their.close()
        assert await self._process.stdout.readline() == b"serving\n"
        if self.engine is None:
            # Only now: the writer makes the store, and no fork may come after the opening.
            self.engine = Engine.open(self._path, settings=SETTINGS, readonly=True)
            loop = asyncio.get_running_loop()
            self.workers = [RemoteWriter(self.engine, number, loop=loop) for number in WORKERS]
        for worker, (ours, _) in zip(self.workers, pairs, strict=True):
            worker.attach(ours)

    async def kill_writer(self) -> None:
        """Kill -9, and wait until it is dead."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self.writer_died()

    async def writer_died(self) -> None:
        """Wait until the writer has killed itself."""
        assert self._process is not None
        assert await asyncio.wait_for(self._process.wait(), DEADLINE_S) == -signal.SIGKILL

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not done():  # noqa: ASYNC110  # what it waits for has no event
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        for worker in self.workers:
            await worker.drain(0)
        if self.engine is not None:
            self.engine.close()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def open_site(path: Path) -> AsyncIterator[Site]:
    site = Site(path)
    try:
        yield site
    finally:
        await site.close()


async def prepare(site: Site) -> Ledger:
    """Start a writer and make the record that every tenth transaction wants to make again."""
    await site.start_writer()
    await site.until(lambda: all(worker.is_attached for worker in site.workers))
    await site.workers[0].commit([put("there")])
    return Ledger()


def test_a_death_between_commit_and_reply_is_answered_exactly(tmp_path: Path) -> None:
    """What the last commit had is told from its row, rejections too; the rest was not written."""

    async def body() -> None:
        async with open_site(tmp_path / "data") as site:
            ledger = await prepare(site)
            for die_at in (1, 2, 5):
                await site.kill_writer()
                await site.start_writer(die_at=die_at)
                await site.until(lambda: all(worker.is_attached for worker in site.workers))
                first = ledger.last + 1
                while site.workers[0].is_attached:
                    for worker in site.workers:
                        for _ in range(20):
                            ledger.submit(worker)
                    await asyncio.sleep(0.001)
                await site.writer_died()
                await site.start_writer()
                await site.until(lambda: ledger.is_complete)
                assert site.engine is not None
                site.engine.refresh()
                assert ledger.problems(site.engine) == []
                mine = [ledger.results[number] for number in range(first, ledger.last + 1)]
                assert any(isinstance(result, Applied) for result in mine)
                assert any(isinstance(result, RecordExists) for result in mine)

    asyncio.run(body())


def test_the_row_answers_when_nobody_was_told(tmp_path: Path) -> None:
    """All that one commit did and rejected is known without a single reply."""

    async def body() -> None:
        async with open_site(tmp_path / "data") as site:
            ledger = await prepare(site)
            await site.kill_writer()
            await site.start_writer(die_at=1)
            await site.until(lambda: all(worker.is_attached for worker in site.workers))
            for _ in range(30):
                ledger.submit(site.workers[0])
            await site.writer_died()
            await site.until(lambda: not site.workers[0].is_attached)
            assert ledger.results == {}
            await site.start_writer()
            await site.until(lambda: ledger.is_complete)
            kinds = [type(ledger.results[number]) for number in range(1, 31)]
            assert kinds == [
                RecordExists if number % 10 == 0 else Applied for number in range(1, 31)
            ]
            assert site.engine is not None
            assert ledger.problems(site.engine) == []

    asyncio.run(body())


@pytest.mark.slow
def test_kills_at_any_time_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Twenty kills under load from two workers."""
    rng = random.Random(20)

    async def load(worker: RemoteWriter, ledger: Ledger) -> None:
        while True:
            for _ in range(rng.randint(1, 40)):
                try:
                    ledger.submit(worker)
                except LyreError:
                    ledger.results[ledger.last] = Overloaded("not taken")
            await asyncio.sleep(rng.choice((0, 0.001, 0.003)))

    async def body() -> None:
        async with open_site(tmp_path / "data") as site:
            ledger = await prepare(site)
            for _ in range(20):
                loads = [asyncio.create_task(load(worker, ledger)) for worker in site.workers]
                await asyncio.sleep(rng.uniform(0.02, 0.15))
                await site.kill_writer()
                for task in loads:
                    task.cancel()
                await asyncio.gather(*loads, return_exceptions=True)
                await site.start_writer()
                await site.until(lambda: ledger.is_complete)
            assert site.engine is not None
            site.engine.refresh()
            assert ledger.problems(site.engine) == []
            assert check(site.engine) == []
            assert sum(isinstance(one, Applied) for one in ledger.results.values()) > 100

    asyncio.run(body())


def test_a_reader_follows_the_log_over_new_segments(tmp_path: Path) -> None:
    """Each poke lets it read on without a gap, also where a segment began since it opened."""

    async def body() -> None:
        async with open_site(tmp_path / "data") as site:
            await prepare(site)
            engine, worker = site.engine, site.workers[1]
            assert engine is not None
            seen: list[int] = []
            start = engine.refresh()

            def follow(position: int) -> None:
                with engine.snapshot() as snapshot:
                    seen.extend(entry.seq for entry in snapshot.entries(start + len(seen)))
                    assert snapshot.position >= position

            worker.on_commit(follow)
            segments = len(engine.directory)
            for number in range(120):
                await site.workers[0].commit([put(f"k{number}", text="x" * 3000)])
            await site.until(lambda: len(seen) == 120)
            assert seen == list(range(start + 1, start + 121))
            assert len(engine.directory) > segments + 2
            assert check(engine) == []

    asyncio.run(body())


def test_writes_and_calls_wait_for_the_next_writer(tmp_path: Path) -> None:
    """What was not sent when the writer died goes to the next one, as if nothing had been."""

    async def body() -> None:
        async with open_site(tmp_path / "data") as site:
            ledger = await prepare(site)
            worker = site.workers[0]
            await site.kill_writer()
            await site.until(lambda: not worker.is_attached)
            answers: list[object] = []
            blocks: list[object] = []
            ledger.submit(worker)
            worker.calls.call("shout", b"quiet", answers.append)
            worker.lease_integers(SLOT, blocks.append)
            await asyncio.sleep(0.01)
            assert (ledger.results, answers, blocks) == ({}, [], [])
            await site.start_writer()
            await site.until(lambda: ledger.is_complete and bool(answers) and bool(blocks))
            assert isinstance(ledger.results[1], Applied)
            assert answers == [b"QUIET"]
            assert isinstance(blocks[0], range)

    asyncio.run(body())


def test_leases_outlive_the_writer(tmp_path: Path) -> None:
    """A block that one worker has is not leased to another by the next writer."""

    async def body() -> None:
        async with open_site(tmp_path / "data") as site:
            await prepare(site)
            blocks: list[range | LyreError] = []
            for worker in site.workers:
                worker.lease_integers(SLOT, blocks.append)
                await site.until(lambda: bool(blocks))
                await site.kill_writer()
                await site.start_writer()
            await site.until(lambda: len(blocks) == 2)
            first, second = blocks
            assert isinstance(first, range)
            assert isinstance(second, range)
            assert not set(first) & set(second)

    asyncio.run(body())


def test_the_snapshot_of_a_dead_worker_holds_nothing_back(tmp_path: Path) -> None:
    """Pages that a reader sees are not used again, so its slot is freed when it is detached."""

    async def body() -> None:
        loop = asyncio.get_running_loop()
        engine = Engine.open(tmp_path / "data", settings=SETTINGS)
        engine.define_table(TABLE)
        writer = Writer(engine, call_soon=lambda callback: loop.call_soon(callback))
        service = WriterService(engine, writer, loop=loop)
        ours, theirs = socket.socketpair()
        service.attach(1, ours)
        reader = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "reading_process.py"),
            str(tmp_path / "data"),
            env=python_environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"0\n"
        reader.kill()
        await reader.wait()
        service.detach(1)
        assert engine.check_readers() == 0, "the service has freed them"
        theirs.close()
        service.close()
        engine.close()

    asyncio.run(body())
