"""A sequencer of each kind on a fresh store, for tests that hold both to the same promises."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lyredb.storage.engine import Engine
from lyredb.storage.mutation import Mutation
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.service import WriterService
from lyredb.storage.remote.wire import Welcome, encode
from lyredb.storage.request_row import RequestRow
from lyredb.storage.sequencer import Result, Sequencer
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer
from tests.storage.store import ROOMY, TABLE

DEADLINE_S = 10.0


@dataclass
class Disk:
    """How much is free."""

    free: int = 1 << 40

    def __call__(self, _: Path) -> int:
        return self.free


@dataclass
class Room:
    """One store with one or two sequencers.

    Attributes:
        engine: That is written.
        writer: That commits.
        sequencer: What is tested.
        other: Another worker's, or the same where there is one process.
        disk: The disk of the store.
        service: Where workers are attached, if there are any.
    """

    engine: Engine
    writer: Writer
    sequencer: Sequencer
    other: Sequencer
    disk: Disk
    service: WriterService | None = None
    replies: list[tuple[object, Result]] = field(default_factory=list)

    def submit(
        self, label: object, *transaction: Mutation, bulk: bool = False, other: bool = False
    ) -> None:
        """Submit a transaction; its reply is noted with the label."""
        sequencer = self.other if other else self.sequencer

        def note(result: Result) -> None:
            self.replies.append((label, result))

        sequencer.submit(transaction, note, bulk=bulk)

    async def until(self, done: Callable[[], bool]) -> None:
        """Run the loop until something is so."""
        async with asyncio.timeout(DEADLINE_S):
            while not done():  # noqa: ASYNC110  # what it waits for has no event
                await asyncio.sleep(0)

    async def answered(self, count: int) -> Sequence[tuple[object, Result]]:
        """Wait for so many replies and return all."""
        await self.until(lambda: len(self.replies) >= count)
        return self.replies


Opener = Callable[[Path, StorageSettings], AbstractAsyncContextManager[Room]]


def open_writer(path: Path, settings: StorageSettings, disk: Disk) -> tuple[Engine, Writer]:
    """Open a store with one table, and its writer in this loop."""
    engine = Engine.open(path, settings=settings, free_bytes_of=disk)
    engine.define_table(TABLE)
    loop = asyncio.get_running_loop()

    def soon(callback: Callable[[], None]) -> None:
        loop.call_soon(callback)

    return engine, Writer(engine, call_soon=soon)


@asynccontextmanager
async def inline(path: Path, settings: StorageSettings = ROOMY) -> AsyncIterator[Room]:
    """Commits in the same process."""
    disk = Disk()
    engine, writer = open_writer(path, settings, disk)
    try:
        yield Room(engine, writer, writer, writer, disk)
    finally:
        writer.close()
        engine.close()


@asynccontextmanager
async def remote(path: Path, settings: StorageSettings = ROOMY) -> AsyncIterator[Room]:
    """Two workers' ends, and the writer's end, on one engine and in one loop.

    LMDB is opened once in a process, so the workers' engine is the writer's here; tests with
    processes have one each.
    """
    disk = Disk()
    engine, writer = open_writer(path, settings, disk)
    loop = asyncio.get_running_loop()
    service = WriterService(engine, writer, loop=loop)
    workers = [RemoteWriter(engine, number, loop=loop) for number in (1, 2)]
    room = Room(engine, writer, workers[0], workers[1], disk, service)
    for worker in workers:
        connect(service, worker)
    try:
        await room.until(lambda: all(worker.is_attached for worker in workers))
        yield room
    finally:
        for worker in workers:
            await worker.drain(1)
        service.close()
        engine.close()


def connect(service: WriterService, worker: RemoteWriter) -> None:
    """Attach a worker over a new stream."""
    ours, theirs = socket.socketpair()
    service.attach(worker.worker, ours)
    worker.attach(theirs)


async def writer_that_does_nothing(room: Room, worker: RemoteWriter) -> socket.socket:
    """Attach a worker to a writer that takes its requests and never answers."""
    ours, theirs = socket.socketpair()
    worker.attach(ours)
    theirs.sendall(encode(Welcome(RequestRow(1))))
    await room.until(lambda: worker.is_attached)
    return theirs
