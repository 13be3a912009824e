"""What a subscription may see: the tables that its filter reaches, by the rights of now."""

from __future__ import annotations

from collections.abc import Sequence

from lyredb.delivery.filters import INTERNAL, Levels, matches, parse_filter
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message
from lyredb.resources.coverage import Coverage, coverage, ranges_of
from lyredb.resources.held import Place
from lyredb.resources.subscription_parts import Rooms, masked
from lyredb.storage.frontier import KeyRange


class Sight:
    """The part of a subscription that decides; no object of its own, as there may be a million.

    Attributes:
        context: Whose it is.
        filter: The topic filter.

    Raises:
        InvalidTopic, UnknownTopic, NotAuthorised: As `coverage`.
    """

    __slots__ = (
        "_has_lost",
        "_levels",
        "_masks",
        "_ranges",
        "_rooms",
        "_tables",
        "context",
        "filter",
    )

    def __init__(self, rooms: Rooms, topic_filter: str, context: Context) -> None:
        self._rooms = rooms
        self.filter = topic_filter
        self.context = context
        covered = coverage(topic_filter, rooms.registry, rooms.access, context)
        self._tables = covered.tables
        self._masks = covered.masks
        self._has_lost = False
        # Made where they are needed: most of a million never read.
        self._ranges: tuple[KeyRange, ...] | None = None
        self._levels: Levels | None = None

    def _decide_again(self) -> Coverage:
        """Go on with what may still be read of it.

        Raises:
            LyreError: As `coverage`: nothing is left.
        """
        rooms = self._rooms
        covered = coverage(self.filter, rooms.registry, rooms.access, self.context)
        self._masks = covered.masks
        if not self._tables <= covered.tables:
            self._tables &= covered.tables
            self._has_lost = True
        return covered

    def _lose_all(self) -> None:
        """See nothing any more."""
        self._tables = frozenset()
        self._has_lost = True

    def _where(self) -> tuple[KeyRange, ...]:
        """The ranges of what the filter covers, until `_ranges` is forgotten."""
        if self._ranges is None:
            registry, protocol = self._rooms.registry, self.context.protocol
            self._ranges = ranges_of(self.filter, registry, protocol, self._tables)
        return self._ranges

    def _seen(self, messages: Sequence[Message]) -> Sequence[Message]:
        """What of messages that were read or held is seen by the rights of now."""
        if self._has_lost:
            # What was read or held before the right to it ended.
            messages = [message for message in messages if message.table in self._tables]
        return masked(messages, self._masks) if self._masks else messages

    def _place_of(self, message: Message) -> Place:
        target = self._rooms.registry.topic(message.topic.decode(), self.context.protocol)
        return target.table.slot, target.key

    @property
    def levels(self) -> Levels:
        """The filter, read."""
        if self._levels is None:
            is_internal = self.filter[:1] == INTERNAL
            self._levels = parse_filter(self.filter, allow_internal=is_internal)
        return self._levels

    def matches(self, message: Message) -> bool:
        """Tell whether the filter matches a message's topic."""
        return matches(self.levels, message.topic)
