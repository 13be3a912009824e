"""The messages of QoS 2 that a client has sent and not released, by packet identifier.

While an identifier is known, its message is told to nobody again, however often the client
sends it (MQTT 5 §4.3.3). Whoever publishes commits the rows of `Inbound.rows` together with
the message that they are about, and only then answers the client; it changes `ids` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from lyredb.errors import LyreError
from lyredb.storage.apply import Rows

Committed = Callable[[LyreError | None], None]
"""Told once that rows are on disk, or why they are not."""


class Inbound(Protocol):
    """What a session knows of the messages of QoS 2 that come to the server.

    Attributes:
        ids: Received and not released; whoever publishes adds and removes them, after the
            commit of what adds one and before the commit of what removes it.
    """

    ids: set[int]

    @property
    def is_durable(self) -> bool:
        """True when the identifiers outlive the connection, and so commit with their messages."""

    def rows(self, received: Iterable[int] = (), released: Iterable[int] = ()) -> Rows:
        """The rows of ``sess`` that say it; none where nothing is kept."""

    def commit(self, rows: Rows, done: Committed) -> None:
        """Commit rows that no message goes with.

        ``done`` is called at once when there are none, else in order with other writes.
        """


class MemoryInbound:
    """The identifiers of a session that ends with its connection."""

    __slots__ = ("ids",)

    def __init__(self) -> None:
        self.ids: set[int] = set()

    @property
    def is_durable(self) -> bool:
        """Never."""
        return False

    def rows(self, received: Iterable[int] = (), released: Iterable[int] = ()) -> Rows:
        """None."""
        return ()

    def commit(self, rows: Rows, done: Committed) -> None:
        """Call back at once."""
        done(None)
