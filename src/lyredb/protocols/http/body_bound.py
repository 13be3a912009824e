"""How large the body of a request may be, and in how many pieces it may come."""

from __future__ import annotations

from typing import Final

from lyredb.errors import BodyTooLarge

MAX_PARTS: Final = 100_000
"""Chunks, or pieces in which it is read, of a body: each costs the same however small it is,
and 4 MB in chunks of a byte would be 1.4 s of work. Lines of 40 bytes, a chunk each, fit."""
_LONG_PART_BYTES: Final = 1024
"""Of a body that may be longer than usual: one part more for so many bytes."""
_TIMED_BYTES: Final = 64 * 1024
"""Of such a body, so many have to come in the time for a whole one."""


class BodyBound:
    """The bounds of one connection's request, one after the other.

    Args:
        usual_bytes: What a body may have unless its handler says otherwise.

    Attributes:
        max_bytes: What this one may have.
    """

    def __init__(self, usual_bytes: int) -> None:
        self._usual_bytes = usual_bytes
        self.begin()

    def begin(self) -> None:
        """A request begins."""
        self.max_bytes = self._usual_bytes
        self._parts = 0
        self._timed_to = 0

    def extend(self, max_bytes: int) -> None:
        """Let this body be longer."""
        self.max_bytes = max(self.max_bytes, max_bytes)

    def check(self, size: int) -> None:
        """Take note of a further part.

        Args:
            size: Of the body so far, in bytes.

        Raises:
            BodyTooLarge: It is too large, or comes in too many parts.
        """
        self._parts += 1
        if size > self.max_bytes:
            raise self.too_large()
        is_long = self.max_bytes > self._usual_bytes
        if self._parts > MAX_PARTS + (size // _LONG_PART_BYTES if is_long else 0):
            raise BodyTooLarge(f"the body comes in more than {MAX_PARTS} chunks")

    def is_on_time(self, size: int) -> bool:
        """Tell whether so much of a long body has come that it has its time again."""
        if self.max_bytes == self._usual_bytes or size < self._timed_to:
            return False
        self._timed_to = size + _TIMED_BYTES
        return True

    def too_large(self) -> BodyTooLarge:
        """What is told of a larger one."""
        return BodyTooLarge(f"the body has more than {self.max_bytes} bytes")
