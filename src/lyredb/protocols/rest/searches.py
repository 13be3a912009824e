"""A bound on long results that are being sent at a time."""

from __future__ import annotations

from lyredb.errors import Overloaded


class OpenSearches:
    """How many answers that are too long for one part are under way.

    No snapshot of the store is open while a part waits for its reader, but each answer
    holds a page of records, and one by an index all keys that it found.

    Args:
        most: Beyond it further ones are refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0

    def begin(self) -> None:
        """Count one more.

        Raises:
            Overloaded: There are enough.
        """
        if self.open >= self._most:
            raise Overloaded("too many long results are being sent; try again, or with a limit")
        self.open += 1

    def end(self) -> None:
        """Undo one `begin`."""
        self.open -= 1
