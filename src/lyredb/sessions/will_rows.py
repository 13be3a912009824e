"""Writes the rows that keep wills, beside everything else that the writer gets.

A row that somebody waits for is written or refused; what only has to follow, such as the
removal of a row, is tried again until it is written, or until the writer is closed: then
the next start finds the row as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from lyredb.errors import DiskFull, LyreError, Overloaded
from lyredb.sessions.wills import KeptWill, encode_will, row_name
from lyredb.storage.sequencer import Result, Sequencer

_logger: Final = logging.getLogger(__name__)

_RETRY_S: Final = 0.5
"""Nobody waits for these rows, and whoever is overloaded has better to do."""


class WillRows:
    """The rows of wills.

    Args:
        writer: Where they go.
        call_later: As ``loop.call_later``.
    """

    def __init__(
        self,
        writer: Sequencer,
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._writer = writer
        self._call_later = call_later
        self._unwritten: dict[bytes, bytes | None] = {}

    def put(self, kept: KeptWill, then: Callable[[LyreError | None], None]) -> None:
        """Write a row; ``then`` is called when it is on disk, or cannot be."""

        def replied(result: Result) -> None:
            then(result if isinstance(result, LyreError) else None)

        row = row_name(kept.epoch), encode_will(kept)
        try:
            self._writer.submit((), replied, session_rows=(row,))
        except LyreError as error:
            then(error)

    def replace(self, kept: KeptWill) -> None:
        """Write a row that nobody waits for."""
        self._follow(row_name(kept.epoch), encode_will(kept))

    def delete(self, epoch: int) -> None:
        """Remove a row; one that is not there is no error."""
        self._follow(row_name(epoch), None)

    def _follow(self, name: bytes, row: bytes | None) -> None:
        self._unwritten.pop(name, None)

        def replied(result: Result) -> None:
            if isinstance(result, LyreError):
                self._keep(name, row, result)

        try:
            self._writer.submit((), replied, session_rows=((name, row),))
        except LyreError as error:
            self._keep(name, row, error)

    def _keep(self, name: bytes, row: bytes | None, error: LyreError) -> None:
        if not isinstance(error, (Overloaded, DiskFull)):
            _logger.warning("the row of a will stays as it is: %s", error)
            return
        if not self._unwritten:
            self._call_later(_RETRY_S, self._try_again)
        self._unwritten[name] = row

    def _try_again(self) -> None:
        unwritten, self._unwritten = self._unwritten, {}
        for name, row in unwritten.items():
            self._follow(name, row)
