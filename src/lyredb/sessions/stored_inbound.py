"""Inbound packet identifiers that outlive the connection; see `lyredb.sessions.inbound`.

Each has a small row of its own, so that a message and its identifier are one transaction
whatever else is known, on the condition that the session still has this owner: what a former
one sends late, a message with its identifier, is refused. A row names the epoch of the owner
that wrote it. The next owner puts what the rows say into its row of progress, and removes
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lyredb.errors import LyreError
from lyredb.sessions.inbound import Committed
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import (
    InboundMark,
    encode_mark,
    inbound_name,
    owner_condition,
)


class StoredInbound:
    """The identifiers of a session that outlives its connection.

    Attributes:
        ids: See `lyredb.sessions.inbound.Inbound`.

    Args:
        number: Of the session.
        epoch: Of its owner.
        ids: That the row of progress has.
        submit: Commits rows; see `SessionStore.submit`.
    """

    def __init__(
        self,
        number: int,
        epoch: int,
        ids: Iterable[int],
        submit: Callable[[tuple[Mutation, ...], Rows, Callable[[Result], None]], None],
    ) -> None:
        self.ids = set(ids)
        self._number = number
        self._submit = submit
        self._in_progress = frozenset(self.ids)
        self._received = encode_mark(InboundMark(epoch, True))
        self._released = encode_mark(InboundMark(epoch, False))
        self._condition = owner_condition(number, epoch)

    @property
    def is_durable(self) -> bool:
        """Always."""
        return True

    def rows(self, received: Iterable[int] = (), released: Iterable[int] = ()) -> Rows:
        """See `lyredb.sessions.inbound.Inbound.rows`."""
        number = self._number
        rows: list[tuple[bytes, bytes | None]] = [self._condition]
        rows += [(inbound_name(number, packet_id), self._received) for packet_id in received]
        for packet_id in released:
            # The row of progress is not written for this: it may say the identifier still.
            mark = self._released if packet_id in self._in_progress else None
            rows.append((inbound_name(number, packet_id), mark))
        return rows

    def commit(self, rows: Rows, done: Committed) -> None:
        """See `lyredb.sessions.inbound.Inbound.commit`."""
        if not rows:
            done(None)
            return

        def replied(result: Result) -> None:
            done(result if isinstance(result, LyreError) else None)

        self._submit((), rows, replied)
