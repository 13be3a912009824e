"""``async with db.transaction()``, and the same with another try after a conflict.

The transaction of a block is found through a context variable, so tables need not be told:
what the task does with them inside the block belongs to it. A block inside a block joins it;
an exception that leaves the inner one undoes what was written in there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self, TypeVar

from lyredb.errors import WriteConflict
from lyredb.resources.transaction import Savepoint, Transaction

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.002
"""About a commit: whoever won is done by then. Doubled with each conflict, and random, so
that those who collided do not do so again."""
LONGEST_PAUSE_S: Final = 0.1

_current: ContextVar[tuple[tuple[object, Transaction], ...]] = ContextVar("transactions")


def current(owner: object) -> Transaction | None:
    """Return the transaction that the running code is inside of, ``None`` without one.

    Args:
        owner: The database; a transaction of another one is none of this.

    Raises:
        RuntimeError, Timeout: It may not be used here any more; see `require_usable`.
    """
    for whose, transaction in _current.get(()):
        if whose is owner:
            transaction.require_usable()
            return transaction
    return None


class Attempt:
    """One try: a context manager that commits at its end, or rolls back on an exception."""

    __slots__ = ("_begin", "_is_last", "_joined", "_owner", "_savepoint", "_transaction", "state")

    def __init__(self, owner: object, begin: Callable[[], Transaction], *, is_last: bool) -> None:
        self._owner = owner
        self._begin = begin
        self._is_last = is_last
        self._joined = False
        self._savepoint: Savepoint | None = None
        self._transaction: Transaction | None = None
        self.state = "new"

    async def __aenter__(self) -> Transaction:
        if self.state != "new":
            raise RuntimeError("a transaction can be entered once")
        self.state = "entered"
        outer = current(self._owner)
        if outer is not None:
            self._joined = True
            self._savepoint = outer.savepoint()
            self._transaction = outer
            return outer
        self._transaction = self._begin()
        _current.set((*_current.get(()), (self._owner, self._transaction)))
        return self._transaction

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        transaction = self._transaction
        assert transaction is not None, "it was entered"
        self.state = "done"
        if self._joined:
            if error is not None and self._savepoint is not None:
                transaction.undo(self._savepoint)
            return False
        _current.set(tuple(one for one in _current.get(()) if one[1] is not transaction))
        if error is not None:
            transaction.roll_back()
            return self._again(error)
        try:
            await transaction.commit()
        except WriteConflict as conflict:
            if not self._again(conflict):
                raise
        return False

    def _again(self, error: BaseException) -> bool:
        if self._is_last or not isinstance(error, WriteConflict):
            return False
        self.state = "conflict"
        return True


class Transactions(AsyncIterator[Attempt]):
    """What ``db.transaction()`` returns; three ways to use it.

    ::

        async with db.transaction():  # one try
            ...
        async for attempt in db.transaction(retries=3):  # up to four tries
            async with attempt:
                ...
        total = await db.transaction(retries=3).run(function)  # the same for a function

    A ``with`` block cannot run again, so it takes no ``retries``. What runs again must not
    have other effects than on the database; messages are sent once, after the commit.

    Args:
        owner: The database.
        begin: Begins a transaction.
        retries: How often a conflict is tried again.
    """

    __slots__ = ("_begin", "_block", "_last", "_left", "_owner", "_pause_s")

    def __init__(self, owner: object, begin: Callable[[], Transaction], retries: int) -> None:
        if retries < 0:
            raise ValueError(f"retries must be 0 or more, got {retries}")
        self._owner = owner
        self._begin = begin
        self._left = retries
        self._pause_s = FIRST_PAUSE_S
        self._last: Attempt | None = None
        self._block: Attempt | None = None

    async def __aenter__(self) -> Transaction:
        if self._left:
            raise TypeError(
                "a `with` block cannot run again: write `async for attempt in "
                "db.transaction(retries=…): async with attempt: …`, or use .run(function)"
            )
        if self._block is not None:
            raise RuntimeError("a transaction can be entered once")
        self._block = Attempt(self._owner, self._begin, is_last=True)
        return await self._block.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        assert self._block is not None, "it was entered"
        return await self._block.__aexit__(kind, error, traceback)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Attempt:
        last = self._last
        if last is None:
            return self._next()
        if last.state == "conflict":
            await asyncio.sleep(random.uniform(0, self._pause_s))
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._left -= 1
            return self._next()
        if last.state == "done":
            raise StopAsyncIteration
        raise RuntimeError("an attempt was not entered: write `async with attempt:` in the loop")

    def _next(self) -> Attempt:
        self._last = Attempt(self._owner, self._begin, is_last=not self._left)
        return self._last

    async def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run a function inside a transaction, again after a conflict; return its result.

        Raises:
            WriteConflict: There were conflicts all the time.
        """
        async for attempt in self:
            async with attempt:
                result = await function()
            if attempt.state == "done":
                return result
        raise AssertionError("the last attempt returns or raises")
