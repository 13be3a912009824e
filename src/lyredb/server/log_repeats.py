"""Keeps one line that is said again and again from filling the disk.

Lines of the same logger, level and wording (the text before its arguments are put in) are
one kind. Of each kind so many are written within a window; what is left out is counted,
and the count is written with the next line of any kind after the window.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from lyredb.security.audit import FAILED, SUCCESSFUL

WINDOW_S: Final = 10.0
MAX_KINDS: Final = 1024
"""Beyond it all windows end early: wordings are constants of the code, so this is a bound
against a library that builds them."""

_NEVER_LEFT_OUT: Final = frozenset((FAILED, SUCCESSFUL))
"""An audit with gaps is none; how fast logins can fail is limited elsewhere."""

Kind = tuple[str, int, str]


@dataclass(slots=True)
class _Window:
    ends_s: float
    written: int = 0
    left_out: int = 0


class Repeats:
    """Decides which lines are written.

    Args:
        most: Lines of a kind in a window; 0 for no limit.
        now_s: A monotonic clock.
    """

    def __init__(self, most: int, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self._now_s = now_s
        self._windows: dict[Kind, _Window] = {}

    def admits(self, record: logging.LogRecord) -> bool:
        """Tell whether to write a line, and count it if not."""
        if not self.most or record.levelno <= logging.DEBUG or record.name in _NEVER_LEFT_OUT:
            return True
        kind = (record.name, record.levelno, _wording(record))
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window(self._now_s() + WINDOW_S)
        if window.written < self.most:
            window.written += 1
            return True
        window.left_out += 1
        return False

    def ended(self) -> Iterator[logging.LogRecord]:
        """End the windows whose time is over; yield a line for each that left some out."""
        now = self._now_s()
        is_full = len(self._windows) > MAX_KINDS
        over = [kind for kind, window in self._windows.items() if is_full or window.ends_s <= now]
        for kind in over:
            window = self._windows.pop(kind)
            if window.left_out:
                yield _summary(kind, window.left_out)


def _wording(record: logging.LogRecord) -> str:
    if isinstance(record.msg, dict):  # a line of structlog on its way to the formatter
        return str(record.msg.get("event"))
    return str(record.msg)


def _summary(kind: Kind, left_out: int) -> logging.LogRecord:
    name, level, wording = kind
    text = "%d more lines within %d s were left out: %s"
    return logging.LogRecord(
        name, level, __file__, 0, text, (left_out, int(WINDOW_S), wording), None
    )
