"""What was read and cannot be processed yet: an incomplete packet, or all, while paused."""

from __future__ import annotations

_MAX_PIECES = 512
"""Pieces before they are joined: each costs 33 bytes and more, and a peer may send its
packet byte by byte."""


class Pieces:
    """Keeps pieces and joins them once, when there is enough.

    Attributes:
        size: Bytes that are here; an empty piece is none.
        needed: Bytes that have to be here before it is worth looking again.
    """

    __slots__ = ("_pieces", "needed", "size")

    def __init__(self) -> None:
        self.needed = 0
        self._pieces: list[bytes] | None = None  # made when there is one: most have none
        self.size = 0

    @property
    def is_enough(self) -> bool:
        """True when there is something, and as much as is needed."""
        return self.size > 0 and self.size >= self.needed

    def add(self, data: bytes) -> None:
        """Keep what was read."""
        pieces = self._pieces
        if pieces is None:
            pieces = self._pieces = []
        pieces.append(data)
        self.size += len(data)
        if len(pieces) > _MAX_PIECES:
            self._pieces = [b"".join(pieces)]

    def put_back(self, data: bytes, needed: int) -> None:
        """Keep what is left of `join`, before all that has come since."""
        self._pieces = [data, *(self._pieces or ())]
        self.size += len(data)
        self.needed = needed

    def join(self) -> bytes:
        """Everything, which is forgotten here."""
        data = b"".join(self._pieces or ())
        self.clear()
        return data

    def clear(self) -> None:
        """Forget everything."""
        self._pieces = None
        self.size = self.needed = 0
