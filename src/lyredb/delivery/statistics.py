"""The numbers of a hub."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubStatistics:
    """What a hub has and has done since it was made.

    Attributes:
        subscribers: Joined to at least one filter.
        filters: Different filters.
        routes: Topics with a cached route.
        holds: Records with writes under way.
        aside: Subscribers that are set aside, or catch up after that.
        waiting: Subscribers with publishers waiting for them.
        frames: Frames that went into batches, each counted once per group.
        writes: Batches handed to subscribers.
        pauses: How often a publisher was paused for a subscriber.
        entries: Log entries that somebody listened to.
    """

    subscribers: int
    filters: int
    routes: int
    holds: int
    aside: int
    waiting: int
    frames: int
    writes: int
    pauses: int
    entries: int
