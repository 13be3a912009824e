"""Who wants to hear of commits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

_logger: Final = logging.getLogger(__name__)


class Pokes:
    """The callbacks of one sequencer; see `sequencer.Sequencer.on_commit`."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: dict[object, Callable[[int], None]] = {}

    def add(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Tell somebody from now on; the function returned ends it."""
        token = object()
        self._callbacks[token] = callback
        return partial(self._forget, token)

    def _forget(self, token: object) -> None:
        self._callbacks.pop(token, None)

    def tell(self, position: int) -> None:
        """Tell everybody of a position; one that fails keeps nobody from hearing of it."""
        for callback in list(self._callbacks.values()):
            try:
                callback(position)
            except Exception:
                _logger.exception("a reader failed at the news of a commit")
