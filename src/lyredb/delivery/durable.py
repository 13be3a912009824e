"""The filters of sessions that outlive their connections, live or asleep.

What of QoS 1 and 2 is published to a topic that one of them matches goes through the log, so
that the session finds it there when it wakes. Nothing else is known of such sessions here:
one that is asleep costs its filters and nothing per message. Every worker has the same
filters, as each follows the records of sessions (`lyredb.sessions.following`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lyredb.delivery.filters import FilterIndex, Levels, parse_filter
from lyredb.delivery.routes import RouteTable
from lyredb.errors import InvalidTopic

SHARE: Final = "$share/"
"""What a shared subscription begins with (MQTT 5 §4.8.2); the group's name follows."""


class _Wanted:
    """A filter, one object for all sessions that have it.

    Attributes:
        filter: As text.
        count: Of the sessions.
    """

    __slots__ = ("count", "filter")

    def __init__(self, filter: str) -> None:
        self.filter = filter
        self.count = 0


class DurableFilters:
    """The filters of all durable sessions of a node, and which topics they match.

    An edit takes effect between two messages: what waits is written first, then the routes
    are dropped whose topics are logged from now on, or not any more.

    Args:
        routes: Where what an edit makes wrong is dropped.
        flush: Writes all that waits; called before routes are dropped.
    """

    def __init__(self, routes: RouteTable, flush: Callable[[], None]) -> None:
        self._routes = routes
        self._flush = flush
        self._index: FilterIndex[_Wanted] = FilterIndex()
        self._by_filter: dict[str, _Wanted] = {}
        self._by_session: dict[bytes, tuple[_Wanted, ...]] = {}

    def __len__(self) -> int:
        """How many different filters there are."""
        return len(self._by_filter)

    @property
    def sessions(self) -> int:
        """How many sessions have any."""
        return len(self._by_session)

    @property
    def session_keys(self) -> set[bytes]:
        """The names of the sessions that have any."""
        return set(self._by_session)

    def replace(self, session_key: bytes, filters: Iterable[str]) -> None:
        """Say what a session has from now on; saying it twice changes nothing.

        Args:
            session_key: Any name of its own, such as the key of its record.
            filters: With QoS 1 or 2. ``$share/<group>/<filter>`` counts as ``<filter>``.
                What is no filter by the limits of now matches nothing, and is left out.
        """
        plain = list(dict.fromkeys(map(_without_group, filters)))
        before = self._by_session.get(session_key, ())
        if [wanted.filter for wanted in before] == plain:
            return
        now = tuple([wanted for text in plain if (wanted := self._take(text)) is not None])
        if now:
            self._by_session[session_key] = now
        else:
            self._by_session.pop(session_key, None)
        for wanted in before:
            self._release(wanted)

    def remove(self, session_key: bytes) -> None:
        """Forget a session; one that is not known is none."""
        for wanted in self._by_session.pop(session_key, ()):
            self._release(wanted)

    def match(self, topic: bytes) -> bool:
        """Tell whether messages to a topic have to be logged. O(levels x branches)."""
        return bool(self._by_filter) and bool(self._index.match(topic))

    def _take(self, text: str) -> _Wanted | None:
        wanted = self._by_filter.get(text)
        if wanted is None:
            try:
                levels = parse_filter(text)
            except InvalidTopic:
                return None
            wanted = self._by_filter[text] = _Wanted(text)
            self._index.add(levels, wanted)
            self._drop_routes(levels)
        wanted.count += 1
        return wanted

    def _release(self, wanted: _Wanted) -> None:
        wanted.count -= 1
        if wanted.count:
            return
        del self._by_filter[wanted.filter]
        levels = parse_filter(wanted.filter)
        self._index.remove(levels)
        self._drop_routes(levels)

    def _drop_routes(self, levels: Levels) -> None:
        self._flush()
        self._routes.drop_matching(levels)


def _without_group(filter: str) -> str:
    """The filter of a shared subscription, ``""`` when it has none; any other as it is."""
    return filter.split("/", 2)[-1] if filter.startswith(SHARE) else filter
