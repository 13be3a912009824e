"""What a reload does: settings that can change while the server runs are told to rooms."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from lyredb.plugins.scope import Settings
from lyredb.plugins.settings import Setting

_logger: Final = logging.getLogger(__name__)


class Reload:
    """Who wants to know of changed settings, in this process (``plugins.scope.Reloads``)."""

    def __init__(self) -> None:
        self._hooks: list[Callable[[Settings], None]] = []

    def __call__(self, apply: Callable[[Settings], None], /) -> None:
        """Call ``apply`` with the settings in force after each reload."""
        self._hooks.append(apply)

    def run(self, settings: Settings) -> None:
        """Tell everybody; one who fails is logged and keeps nobody else from it."""
        for hook in self._hooks:
            try:
                hook(settings)
            except Exception:
                _logger.exception("a part of the reload failed")


def changed(rows: Iterable[Setting], old: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """Return the names of settings that changed: those that apply now, and the rest."""
    before, after = old.values(), new.values()
    now: list[str] = []
    later: list[str] = []
    for row in rows:
        if before[row.name] != after[row.name]:
            (now if row.live else later).append(row.name)
    return now, later
