"""A child's sign of life: its loop comes round, and the board says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from lyredb.server.board import Board

BEAT_S: Final = 0.25
"""Four in the shortest silence that may be set."""


class Pulse:
    """Beats on the board until stopped.

    Args:
        board: Where.
        number: Whose line.
        also: What else is said at each beat.
    """

    def __init__(self, board: Board, number: int, also: Callable[[], None] | None = None) -> None:
        self._also = also
        self._board = board
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def beat(self) -> None:
        """Say it, and again after a while."""
        if self._also is not None:
            self._also()
        self._board.beat(self._number)
        self._timer = self._loop.call_later(BEAT_S, self.beat)

    def stop(self) -> None:
        """Say it no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
