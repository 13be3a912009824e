"""The encoding of readers in this process: they take messages as they are."""

from __future__ import annotations

from typing import Final

from lyredb.plugins.delivery import Message


class InProcessEncoding:
    """The encoding of readers that take messages as they are."""

    raw = ""
    takes_messages = True

    def frame(
        self, message: Message, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        """Never called: there is no wire."""
        raise AssertionError("readers in process take messages, not frames")


ENCODING: Final = InProcessEncoding()
