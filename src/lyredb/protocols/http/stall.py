"""Whether a peer takes anything of what waits for it."""

from __future__ import annotations

from typing import Final

_NOTHING_SEEN: Final = float("inf")


class Stall:
    """How long the bytes that wait for one peer have not become fewer."""

    __slots__ = ("_least", "_since_s")

    def __init__(self) -> None:
        self._least = _NOTHING_SEEN
        self._since_s = 0.0

    def forget(self) -> None:
        """Begin anew at the next look."""
        self._least = _NOTHING_SEEN

    def seconds(self, waiting: int, now: float) -> float:
        """Look, and return for how long there has been no progress.

        Args:
            waiting: Bytes in the transport's buffer.
            now: The loop's time.
        """
        if waiting < self._least:
            self._least = waiting
            self._since_s = now
        return now - self._since_s
