"""The two lanes of waiting transactions: somebody awaits each of the one, nobody of the other.

While both wait, the bulk lane gets a fifth of the mutations, also when one bulk transaction
is larger than a group: interactive ones earn a credit that it is paid from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lyredb.storage.commit import Request

_EARNED: Final = 0.25
"""What an interactive mutation earns for the bulk lane: 1 to 4 is 20 % of all."""


class Lanes:
    """What waits to be committed.

    Attributes:
        mutations: In all that waits.
        size_bytes: Of all that waits.
    """

    __slots__ = ("_bulk", "_credit", "_interactive", "mutations", "size_bytes")

    def __init__(self) -> None:
        self._interactive: deque[Request] = deque()
        self._bulk: deque[Request] = deque()
        self._credit = 0.0
        self.mutations = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._interactive) + len(self._bulk)

    def add(self, request: Request) -> None:
        """Let a request wait in its lane."""
        (self._bulk if request.bulk else self._interactive).append(request)
        self.mutations += request.mutations
        self.size_bytes += request.size_bytes

    def next_group(self, limit: int) -> list[Request]:
        """Return the requests that are next, whole, up to a limit of mutations; at least one.

        They go on waiting until `remove`.
        """
        if not self._bulk:
            return _first(self._interactive, limit)
        return _first(self._alternate(), limit)

    def _alternate(self) -> Iterable[Request]:
        """All that waits, in the order in which it is due."""
        interactive, bulk = iter(self._interactive), iter(self._bulk)
        first, second = next(interactive, None), next(bulk, None)
        credit = self._credit
        while first is not None or second is not None:
            if first is None or (second is not None and credit >= _weight(second)):
                assert second is not None, "one of them is left"
                credit = max(0.0, credit - _weight(second))
                yield second
                second = next(bulk, None)
            else:
                credit += _weight(first) * _EARNED
                yield first
                first = next(interactive, None)

    def remove(self, requests: Iterable[Request]) -> None:
        """Take out the first of the last group."""
        if not self._bulk:
            self._remove_interactive(requests)
            return
        for request in requests:
            if request.bulk:
                self._bulk.popleft()
                self._credit = max(0.0, self._credit - _weight(request))
            else:
                self._interactive.popleft()
                self._credit += _weight(request) * _EARNED
            self.mutations -= request.mutations
            self.size_bytes -= request.size_bytes
        if not self._bulk:
            self._credit = 0.0

    def _remove_interactive(self, requests: Iterable[Request]) -> None:
        pop = self._interactive.popleft
        mutations = size_bytes = 0
        for request in requests:
            pop()
            mutations += request.mutations
            size_bytes += request.size_bytes
        self.mutations -= mutations
        self.size_bytes -= size_bytes
        self._credit = 0.0


def _first(requests: Iterable[Request], limit: int) -> list[Request]:
    group: list[Request] = []
    for request in requests:
        limit -= _weight(request)
        if group and limit < 0:
            break
        group.append(request)
    return group


def _weight(request: Request) -> int:
    """Mutations; session rows alone count as one."""
    return request.mutations or 1
