"""``lyredb`` with one thing changed: a fault, which the trials must see, or a limit.

``FAULT`` names it. The writer kills itself in the middle of the next commit, when that is on
disk and nobody was told, once the file ``DEATH`` is there; that alone is no fault.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from lyredb.cli.main import main
from lyredb.plugins.scope import Settings
from lyredb.server.core_settings import storage_settings
from lyredb.server.processes import __main__ as processes
from lyredb.server.processes import child, worker_process
from lyredb.storage import meta
from lyredb.storage.commit import Request
from lyredb.storage.layout import FIRST_FREE_SLOT
from lyredb.storage.mutation import Applied, Outcome
from lyredb.storage.pokes import Pokes
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.service import Link
from lyredb.storage.request_row import encode_request_row
from lyredb.storage.sequencer import Result
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer

LATE_S = 0.05
FEW = 50
"""Writes of a worker that a server with tight limits has outstanding."""
CHILDREN = "lyredb.server.processes"
"""First argument of the processes that the server starts, as in the true one's list."""


def answer_early() -> None:
    """Writes are acknowledged when they come, and committed a moment later."""
    take = Writer.take

    def take_late(self: Writer, request: Request) -> None:
        transaction = request.transaction
        if not transaction or transaction[0].slot < FIRST_FREE_SLOT:
            take(self, request)
            return
        loop = asyncio.get_running_loop()
        done = Applied(self._engine.position, tuple(Outcome(0, 1, False) for _ in transaction))
        loop.call_soon(answer, request, done)
        late = replace(request, on_reply=lambda _: None, origin=None)
        loop.call_later(LATE_S, lambda: take(self, late))

    Writer.take = take_late  # type: ignore[method-assign]


def answer(request: Request, result: Result) -> None:
    """Tell whoever waits for a request, in this process or another one."""
    if request.origin is not None:
        request.origin.reply(request.number, result)
    elif request.on_reply is not None:
        request.on_reply(result)


def forget_requests() -> None:
    """No row says what a commit has done."""

    def row(self: Link, _: object) -> tuple[bytes, bytes]:
        empty = encode_request_row(self._life, [])
        return meta.request_row_name(self._worker), empty

    Link.row = row  # type: ignore[method-assign, assignment]


def poke_nobody() -> None:
    """Workers hear of a commit by their own replies only, and never look by themselves."""
    poke = Link.poke

    def poke_who_waits(self: Link) -> None:
        if self._replies:
            poke(self)

    Link.poke = poke_who_waits  # type: ignore[method-assign]
    RemoteWriter._poll = lambda self: None  # type: ignore[method-assign]


def tell_twice() -> None:
    """Each request is carried out twice."""
    take = Writer.take

    def take_twice(self: Writer, request: Request) -> None:
        take(self, request)
        if request.transaction and request.transaction[0].slot >= FIRST_FREE_SLOT:
            take(self, replace(request, on_reply=lambda _: None, origin=None))

    Writer.take = take_twice  # type: ignore[method-assign]


def take_little() -> None:
    """No fault: few writes of a worker may be outstanding, so that a test reaches the bound."""

    def tight(settings: Settings) -> StorageSettings:
        return dataclasses.replace(storage_settings(settings), max_outstanding_mutations=FEW)

    worker_process.storage_settings = tight  # type: ignore[attr-defined]


FAULTS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "early": answer_early,
    "forgetful": forget_requests,
    "deaf": poke_nobody,
    "twice": tell_twice,
    "tight": take_little,
}


def die_when_told(sign: Path) -> None:
    """Have the first to be told of a commit look whether it is to be the last."""
    tell = Pokes.tell

    def tell_or_die(self: Pokes, position: int) -> None:
        if sign.exists():
            sign.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        tell(self, position)

    Pokes.tell = tell_or_die  # type: ignore[method-assign]


if __name__ == "__main__":
    child.PROGRAM[:] = [__file__, CHILDREN]
    if sys.argv[1] == CHILDREN:
        FAULTS[os.environ["FAULT"]]()
        if sys.argv[2] == "writer":
            die_when_told(Path(os.environ["DEATH"]))
        sys.exit(processes.main(sys.argv[2:]))
    main()
