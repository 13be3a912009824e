"""``lyredb``, broken on purpose: writes of tables are answered before they are committed.

What the checker of the order of calls must see. Its commits come 20 ms later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from lyredb.cli.main import main
from lyredb.storage.mutation import Applied, Mutation, Outcome
from lyredb.storage.writer import Writer

FIRST_TABLE = 4
"""The server's own tables are below it; without their true answers it would not start."""
DELAY_S = 0.02

_submit: Callable[..., None] = Writer.submit


def submit_late(
    self: Writer, transaction: Sequence[Mutation], on_reply: Callable[[Any], None], **rows: Any
) -> None:
    if not transaction or any(mutation.slot < FIRST_TABLE for mutation in transaction):
        _submit(self, transaction, on_reply, **rows)
        return
    loop = asyncio.get_running_loop()
    made_up = tuple(Outcome(0, 1, False) for _ in transaction)
    loop.call_soon(on_reply, Applied(self._engine.position, made_up))
    loop.call_later(DELAY_S, lambda: _submit(self, transaction, lambda _: None, **rows))


if __name__ == "__main__":
    Writer.submit = submit_late  # type: ignore[method-assign]
    main()
