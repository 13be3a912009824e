"""How the processes of a server stand, as the writer knows it: it answers operators.

What lives is told by the supervisor, how far each worker has read stands on the board, and
how many connections it has is told by itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal

from lyredb.operations.status import ProcessStatus, memory_of
from lyredb.server.board import Board
from lyredb.server.metrics.snapshot import Snapshot
from lyredb.server.processes.messages import WRITER, ProcessStand, Stand

_CONNECTED: Final = ("http", "mqtt")
"""Rooms whose statistics count connections."""
_FIRST_WORD_S: Final = 1.0
"""How long an answer waits for the first word of the supervisor, which follows the start."""


class Standing:
    """The last that is known of all processes.

    Args:
        board: Of the server.
        position: Returns the last log position.
        collected: Returns what workers told of their numbers.
    """

    def __init__(
        self,
        board: Board,
        position: Callable[[], int],
        collected: Callable[[], Sequence[Snapshot]],
    ) -> None:
        self._board = board
        self._position = position
        self._collected = collected
        self._stand: Stand | None = None
        self._told = asyncio.Event()

    def note(self, stand: Stand) -> None:
        """Take what the supervisor says."""
        self._stand = stand
        self._told.set()

    async def processes(self) -> list[ProcessStatus]:
        """Return the supervisor, the writer, and the workers by number.

        Commands that have waited for this writer come before the supervisor has said a
        word: they wait for it. A supervisor that stands still is left out after a second.
        """
        try:
            await asyncio.wait_for(self._told.wait(), _FIRST_WORD_S)
        except TimeoutError:
            pass  # only the writer is known then, and says so
        return list(self._tell())

    def _tell(self) -> Iterator[ProcessStatus]:
        position, stand = self._position(), self._stand
        if stand is None:
            yield ProcessStatus("writer", os.getpid(), 0, position, {}, memory_of(os.getpid()))
            return
        yield ProcessStatus("supervisor", stand.supervisor, 0, 0, {}, memory_of(stand.supervisor))
        counted = {each.worker: connections_of(each) for each in self._collected()}
        for one in sorted(stand.processes, key=lambda process: process.number):
            if one.number == WRITER:
                yield _status(one, "writer", position, {})
            else:
                told = self._board.position(one.number)
                yield _status(one, "worker", told, counted.get(one.number, {}))


def connections_of(snapshot: Snapshot) -> dict[str, int]:
    """Return the open connections by protocol, as a worker told them."""
    return dict(_counted((room, snapshot.of(room, "connections")) for room in _CONNECTED))


def _counted(pairs: Iterable[tuple[str, float | None]]) -> Iterator[tuple[str, int]]:
    for room, count in pairs:
        if count is not None:
            yield room, int(count)


def _status(
    one: ProcessStand,
    role: Literal["writer", "worker"],
    position: int,
    connections: dict[str, int],
) -> ProcessStatus:
    return ProcessStatus(
        role,
        one.pid,
        one.number,
        position,
        connections,
        memory_of(one.pid) if one.pid else 0,
        one.state,
        one.restarts,
    )
