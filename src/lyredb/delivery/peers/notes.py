"""Notes between workers: what rooms tell each other beside messages, and who comes and goes.

A note is lost with the stream: whoever sends some again does so when a worker is attached.
Notes of one worker come in order, and after the messages that it has sent before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from lyredb.delivery.peers.wire import Note

_log: Final = logging.getLogger(__name__)


class Notes:
    """Who is told which notes, and of workers that come and go."""

    def __init__(self) -> None:
        self._handlers: dict[str, Callable[[int, bytes], None]] = {}
        self._on_attached: list[Callable[[int], None]] = []
        self._on_detached: list[Callable[[int], None]] = []

    def on_note(self, kind: str, handler: Callable[[int, bytes], None]) -> None:
        """Have a handler called with the sender's number and the bytes of each such note."""
        self._handlers[kind] = handler

    def watch(self, attached: Callable[[int], None], detached: Callable[[int], None]) -> None:
        """Be called with the number of each worker that is attached or detached from now on."""
        self._on_attached.append(attached)
        self._on_detached.append(detached)

    def take(self, worker: int, note: Note) -> None:
        """Hand a note out."""
        handler = self._handlers.get(note.kind)
        if handler is None:
            _log.error("nobody here takes notes of the kind %s", note.kind)
            return
        try:
            handler(worker, note.body)
        except Exception:
            # The streams must go on, whatever one note was.
            _log.exception("a note of the kind %s failed", note.kind)

    def tell_attached(self, worker: int) -> None:
        """A worker is there."""
        for callback in self._on_attached:
            callback(worker)

    def tell_detached(self, worker: int) -> None:
        """A worker is gone."""
        for callback in self._on_detached:
            callback(worker)
