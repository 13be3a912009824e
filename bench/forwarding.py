"""What a writer process costs beside the inline writer, per mutation and process.

``python bench/forwarding.py [DIRECTORY]`` prints a table in about five seconds. Each client
puts a record of about 70 bytes without an index, waits for the reply, and puts the next.
CPU is that of the process that is named; inline there is only one.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop

from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import TableLayout
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import pack_body
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.service import WriterService
from lyredb.storage.sequencer import Answer, Reply, Result, Sequencer
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer

SLOT = 16
KEYS = 100_000
BODY = pack_body({"value": 21.5, "site": "hall", "text": "x" * 40})
LOADS = ((1, 1_000), (50, 20_000), (300, 40_000), (2_000, 60_000))
"""Clients, and how many mutations in all."""


class Site(NamedTuple):
    """A way to write, and the CPU seconds of the process that commits."""

    sequencer: Sequencer
    writer_cpu_s: Callable[[], Awaitable[float]]


def main() -> None:
    if sys.argv[1:2] == ["--writer"]:
        uvloop.run(write_for(Path(sys.argv[2]), int(sys.argv[3])))
        return
    parent = sys.argv[1] if sys.argv[1:] else None
    columns = f"{'clients':>8} {'per second':>12} {'p50 ms':>8} {'worker µs':>10} {'writer µs':>10}"
    print(f"{'':10} {columns}")
    for name, opened in (("inline", inline), ("process", process)):
        for clients, total in LOADS:
            folder = Path(tempfile.mkdtemp(dir=parent))
            try:
                uvloop.run(measure(name, opened(folder), clients, total))
            finally:
                shutil.rmtree(folder)


async def measure(
    name: str, opened: AbstractAsyncContextManager[Site], clients: int, total: int
) -> None:
    async with opened as site:
        mutations = [
            Mutation(SLOT, encode_key(f"k{number % KEYS}"), Kind.PUT, BODY, user="anna")
            for number in range(total)
        ]
        before = await site.writer_cpu_s()
        cpu_s, began = time.process_time(), time.perf_counter()
        waits = await load(site.sequencer, clients, mutations)
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
        writer_s = await site.writer_cpu_s() - before
    waits.sort()
    print(
        f"{name:10} {clients:8,} {total / wall_s:12,.0f} {waits[total // 2] * 1e3:8.2f} "
        f"{cpu_s / total * 1e6:10.1f} {writer_s / total * 1e6:10.1f}"
    )


async def load(sequencer: Sequencer, clients: int, mutations: list[Mutation]) -> list[float]:
    """Have clients write one after the other each; return how long each write took."""
    done = asyncio.get_running_loop().create_future()
    left, waits = iter(mutations), list[float]()

    def go() -> None:
        mutation = next(left, None)
        if mutation is None:
            return
        began = time.perf_counter()

        def reply(result: Result) -> None:
            if isinstance(result, Exception):
                done.set_exception(result)
                return
            waits.append(time.perf_counter() - began)
            if len(waits) == len(mutations):
                done.set_result(None)
            else:
                go()

        sequencer.submit((mutation,), reply)

    for _ in range(clients):
        go()
    await done
    return waits


def open_writer(folder: Path) -> tuple[Engine, Writer]:
    loop = asyncio.get_running_loop()
    engine = Engine.open(folder, settings=StorageSettings())
    engine.define_table(TableLayout(SLOT, "data.Bench"))
    return engine, Writer(engine, call_soon=lambda callback: loop.call_soon(callback))


@asynccontextmanager
async def inline(folder: Path) -> AsyncIterator[Site]:
    engine, writer = open_writer(folder)

    async def cpu_s() -> float:
        return time.process_time()

    yield Site(writer, cpu_s)
    engine.close()


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[Site]:
    ours, theirs = socket.socketpair()
    descriptor = theirs.fileno()
    command = [sys.executable, __file__, "--writer", str(folder), str(descriptor)]
    child = subprocess.Popen(command, pass_fds=[descriptor], stdout=subprocess.PIPE)  # noqa: ASYNC220  # before the load
    theirs.close()
    assert child.stdout is not None
    child.stdout.readline()
    loop = asyncio.get_running_loop()
    engine = Engine.open(folder, settings=StorageSettings(), readonly=True)
    worker = RemoteWriter(engine, 1, loop=loop)
    worker.attach(ours)

    async def cpu_s() -> float:
        answer: asyncio.Future[Answer] = loop.create_future()
        worker.calls.call("cpu", b"", answer.set_result)
        return float(await answer)  # type: ignore[arg-type]  # the service answers with text

    yield Site(worker, cpu_s)
    await worker.drain(5)
    engine.close()
    child.stdout.close()
    child.wait(timeout=10)  # after the load


async def write_for(folder: Path, descriptor: int) -> None:
    """Be the writer process of one worker, until it goes."""
    engine, writer = open_writer(folder)
    service = WriterService(engine, writer, loop=asyncio.get_running_loop())
    gone = asyncio.Event()

    def cpu(_: int, body: bytes, reply: Reply) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        reply(str(used.ru_utime + used.ru_stime).encode())

    service.calls.serve("cpu", cpu)
    service.calls.on_detach(lambda _: gone.set())
    service.attach(1, socket.socket(fileno=descriptor))
    print("ready", flush=True)
    await gone.wait()
    service.close()
    engine.close()


if __name__ == "__main__":
    main()
