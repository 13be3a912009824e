"""What is to become of a session's description: changes of its filters, and its close."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from lyredb.errors import SessionTakenOver
from lyredb.sessions.inbound import Committed
from lyredb.sessions.terms import Description, StoredSubscription
from lyredb.storage.apply import Rows
from lyredb.storage.session_row import SessionProgress

Changes = Mapping[str, StoredSubscription | None]
"""Subscriptions by filter; ``None`` for one that ends."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What a close is to write; the progress is that of the call.

    Attributes:
        expiry_s: How long the session lasts from then on, 0 for not at all.
        removed: Rows that go away.
        progress: What is written unless the session ends.
        done: Told how it went.
        since_ms: When it was asked for, epoch milliseconds.
        doubtful: See `Description`; as far as the progress does not reach.
    """

    expiry_s: int
    removed: Rows
    progress: SessionProgress
    done: Committed
    since_ms: int
    doubtful: int

    def applied_to(self, description: Description) -> Description:
        """The description of a session that sleeps."""
        return replace(
            description,
            connected=False,
            expiry_s=self.expiry_s,
            since_ms=self.since_ms,
            doubtful=self.doubtful if self.doubtful > self.progress.position else 0,
        )


def taken_over() -> SessionTakenOver:
    """Why somebody who has lost a session may not go on with it."""
    return SessionTakenOver("another connection has this session now")


def changed(description: Description, changes: Changes) -> Description:
    """A description with other subscriptions."""
    now = {one.filter: one for one in description.subscriptions}
    for filter, subscription in changes.items():
        if subscription is None:
            now.pop(filter, None)
        else:
            now[filter] = subscription
    return replace(description, subscriptions=tuple(now.values()))
