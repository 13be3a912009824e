"""``lyredb``, broken on purpose: writes of tables are answered before they are committed.

What the checker of the order of calls must see. Its commits come 20 ms later.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from msgspec.structs import replace

from lyredb.cli.main import main
from lyredb.server.processes import __main__ as processes
from lyredb.server.processes import child
from lyredb.storage.commit import Request
from lyredb.storage.mutation import Applied, Outcome
from lyredb.storage.writer import Writer

FIRST_TABLE = 4
"""The server's own tables are below it; without their true answers it would not start."""
DELAY_S = 0.02
CHILD = "child"
"""First argument of the processes that the server starts, of which the writer is broken."""

_take: Callable[[Writer, Request], None] = Writer.take


def answer(request: Request, applied: Applied) -> None:
    """Tell whoever waits for a request, in this process or another one."""
    if request.origin is not None:
        request.origin.reply(request.number, applied)
    elif request.on_reply is not None:
        request.on_reply(applied)


def take_late(self: Writer, request: Request) -> None:
    transaction = request.transaction
    if not transaction or any(mutation.slot < FIRST_TABLE for mutation in transaction):
        _take(self, request)
        return
    loop = asyncio.get_running_loop()
    made_up = tuple(Outcome(0, 1, False) for _ in transaction)
    loop.call_soon(answer, request, Applied(self._engine.position, made_up))
    late = replace(request, on_reply=lambda _: None, origin=None)
    loop.call_later(DELAY_S, lambda: _take(self, late))


if __name__ == "__main__":
    child.PROGRAM[:] = [__file__, CHILD]
    if sys.argv[1] == CHILD:
        Writer.take = take_late  # type: ignore[method-assign]
        sys.exit(processes.main(sys.argv[2:]))
    main()
