"""Child: a writer process, which may kill itself between a commit and its replies.

Arguments: the data directory, the number of the commit to die after (0 for none), then
``worker:descriptor`` of each worker's stream. Prints a line when it serves.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from lyredb.storage.engine import Engine
from lyredb.storage.remote.service import WriterService
from lyredb.storage.writer import Writer
from tests.faults.killing import SETTINGS
from tests.storage.store import TABLE


class Death:
    """Comes with the n-th commit, when it is on disk and nobody was told."""

    def __init__(self, at: int) -> None:
        self._left = at

    def __call__(self, _: int) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def serve(path: Path, die_at: int, streams: list[str]) -> None:
    loop = asyncio.get_running_loop()
    engine = Engine.open(path, settings=SETTINGS)
    engine.define_table(TABLE)

    def soon(callback: Callable[[], None]) -> None:
        loop.call_soon(callback)

    writer = Writer(engine, call_soon=soon)
    writer.on_commit(Death(die_at))  # before the service, whose poke sends the replies
    service = WriterService(engine, writer, loop=loop)

    def shout(worker: int, body: bytes, reply: Callable[[bytes], None]) -> None:
        reply(body.upper())

    service.calls.serve("shout", shout)
    for stream in streams:
        worker, descriptor = map(int, stream.split(":"))
        service.attach(worker, socket.socket(fileno=descriptor))
    print("serving", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
