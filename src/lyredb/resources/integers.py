"""The integer keys that this process may give to new records, leased in blocks.

The writer never leases an integer twice, so a worker numbers records without asking for each.
A key that somebody chose may lie in a block all the same: then the rest of it is given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from lyredb.errors import LyreError
from lyredb.storage.sequencer import Sequencer

LOW: Final = 8
"""With so many left the next block is asked for, so that creations seldom wait."""


class _Supply:
    """The blocks of one table, and who waits for the next."""

    __slots__ = ("blocks", "is_asked", "waiting")

    def __init__(self) -> None:
        self.blocks: deque[range] = deque()
        self.is_asked = False
        self.waiting: deque[Callable[[LyreError | None], None]] = deque()

    def take(self) -> int | None:
        while self.blocks:
            block = self.blocks.popleft()
            if block:
                self.blocks.appendleft(block[1:])
                return block[0]
        return None


class IntegerKeys:
    """Numbers for new records.

    Args:
        sequencer: Leases the blocks.
    """

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._supplies: dict[int, _Supply] = {}

    def take(self, slot: int) -> int | None:
        """Return the next integer of a table, ``None`` when one has to be waited for."""
        supply = self._supplies.setdefault(slot, _Supply())
        if sum(map(len, supply.blocks)) <= LOW:
            self._ask(slot, supply)
        return supply.take()

    def wait(self, slot: int, ready: Callable[[LyreError | None], None]) -> None:
        """Have `ready` called when there are integers, or with why there are none.

        Those who wait are called in order; each tries `take` again.
        """
        supply = self._supplies.setdefault(slot, _Supply())
        supply.waiting.append(ready)
        self._ask(slot, supply)

    async def next(self, slot: int) -> int:
        """Return the next integer of a table, waiting for a block if need be.

        Raises:
            LyreError: There is none to be had.
        """
        loop = asyncio.get_running_loop()
        while (integer := self.take(slot)) is None:
            asked: asyncio.Future[None] = loop.create_future()
            self.wait(slot, partial(_resolve, asked))
            await asked
        return integer

    def discard(self, slot: int) -> None:
        """Give up what is leased: a key in it exists already. The next block is above it."""
        self._supplies.setdefault(slot, _Supply()).blocks.clear()

    def _ask(self, slot: int, supply: _Supply) -> None:
        if supply.is_asked:
            return
        supply.is_asked = True

        def leased(block: range | LyreError) -> None:
            supply.is_asked = False
            failure = None
            if isinstance(block, LyreError):
                failure = block
            else:
                supply.blocks.append(block)
            waiting, supply.waiting = supply.waiting, deque()
            for ready in waiting:
                ready(failure)

        self._sequencer.lease_integers(slot, leased)


def _resolve(asked: asyncio.Future[None], failure: LyreError | None) -> None:
    if asked.done():  # who waited was cancelled
        return
    if failure is None:
        asked.set_result(None)
    else:
        asked.set_exception(failure)
