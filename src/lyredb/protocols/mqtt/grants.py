"""What a session's subscriptions grant to a topic: quality of service, identifiers, flags.

The subscriptions of a session that outlives its connection share one reading of the log, so
what a message is sent with is worked out here and not in delivery's groups. Filters that
overlap add up as they do there: one copy, the highest QoS, all identifiers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lyredb.delivery.filters import Levels, matches, parse_filter
from lyredb.sessions.terms import StoredSubscription

_MAX_TOPICS: Final = 4_096
"""Whose grants are remembered; a client with more of them works them out again (3 us)."""


class Grant(NamedTuple):
    """What a message is sent with.

    Attributes:
        qos: The highest quality of service.
        ids: Subscription identifiers, ascending.
        retain_as_published: Keep the publisher's RETAIN flag.
    """

    qos: int
    ids: tuple[int, ...]
    retain_as_published: bool


NOTHING: Final = Grant(0, (), False)
"""For a message that no filter matches any more, since the last one went while it waited.

It is not sent: its reader has unsubscribed, or may not read it any more. Compared by identity, as
a filter of QoS 0 may grant the same."""


class Grants:
    """The grants of one session, by topic."""

    __slots__ = ("_filters", "_shared", "_topics")

    def __init__(self) -> None:
        self._filters: dict[str, tuple[StoredSubscription, Levels]] = {}
        self._shared: dict[str, tuple[StoredSubscription, Levels]] = {}
        self._topics: dict[tuple[bytes, bool], Grant] = {}

    def add(self, subscription: StoredSubscription) -> None:
        """Grant what a subscription asks for, instead of what its filter had before."""
        if subscription.filter.startswith("$share/"):
            # Its group says with each message what it is sent with, the first time.
            _, _, inner = subscription.filter.split("/", 2)
            self._shared[subscription.filter] = subscription, parse_filter(inner)
            return
        levels = parse_filter(subscription.filter)
        self._filters[subscription.filter] = subscription, levels
        self._topics.clear()

    def remove(self, topic_filter: str) -> None:
        """Grant nothing by this filter any more."""
        self._shared.pop(topic_filter, None)
        if self._filters.pop(topic_filter, None) is not None:
            self._topics.clear()

    def of(self, topic: bytes, *, is_own: bool) -> Grant:
        """What a message to a topic is sent with.

        Args:
            topic: UTF-8.
            is_own: The session itself has published it, so that filters with No Local do not
                count (MQTT 5 §3.8.3.1).
        """
        key = topic, is_own
        found = self._topics.get(key)
        if found is None:
            if len(self._topics) >= _MAX_TOPICS:
                self._topics.clear()
            found = self._topics[key] = self._work_out(topic, is_own=is_own)
        return found

    def of_filter(self, topic_filter: str) -> Grant:
        """What one filter alone grants: current state comes once for each."""
        found = self._filters.get(topic_filter)
        return NOTHING if found is None else _sum([found[0]])

    def of_shared(self, topic: bytes) -> Grant:
        """What a message of a shared group is sent with again."""
        shared = [one for one, levels in self._shared.values() if matches(levels, topic)]
        return _sum(shared)._replace(retain_as_published=False)

    def _work_out(self, topic: bytes, *, is_own: bool) -> Grant:
        return _sum(
            [
                one
                for one, levels in self._filters.values()
                if not (is_own and one.no_local) and matches(levels, topic)
            ]
        )


def _sum(subscriptions: list[StoredSubscription]) -> Grant:
    if not subscriptions:
        return NOTHING
    return Grant(
        max(one.qos for one in subscriptions),
        tuple(sorted({one.identifier for one in subscriptions if one.identifier})),
        any(one.retain_as_published for one in subscriptions),
    )
