"""The subscriptions of one subscriber, as one of them sees the others.

Where their filters overlap while some of them read, each change is told by one of them, and
what both of two match in the order of the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from lyredb.delivery.filters import FilterIndex, Levels
from lyredb.plugins.delivery import Message
from lyredb.resources.subscription_parts import State


class Sibling(Protocol):
    """A subscription, as the others need it."""

    @property
    def qos(self) -> int:
        """The highest quality of service that it sends with."""

    @property
    def state(self) -> State:
        """Where it is in its life."""

    def matches(self, message: Message) -> bool:
        """Tell whether its filter matches a message's topic."""

    def brings(self, change: Message, qos: int) -> bool:
        """Tell whether it has told a change or a later state, or surely will."""

    @property
    def filter(self) -> str:
        """Its topic filter."""

    @property
    def levels(self) -> Levels:
        """The same, read."""

    @property
    def place(self) -> int:
        """Up to where it has told the log, while the log has more for it; else `UP_TO_DATE`."""

    def may_inherit(self, message: Message) -> bool:
        """Tell whether it has yet to read what a direct message waits for."""

    def inherit(self, message: Message) -> None:
        """Hold a direct message that came to one that has ended."""

    def resume(self) -> None:
        """Go on reading."""


SiblingT = TypeVar("SiblingT", bound=Sibling)

UP_TO_DATE: Final = 1 << 63
"""The place of one that reads nothing of the log."""
_FEW: Final = 16
"""So many are asked one by one whether they match; more are found by an index."""


class Siblings(Generic[SiblingT]):
    """Those of one subscriber that are not closed; see the module.

    There may be thousands, which all begin, wake and read at the same time: no step of one of
    them looks at all others. What is known of the others' places is a bound that none is
    below, and one that is the last.

    Attributes:
        all: In the order of their making, which the numbers give too.
    """

    __slots__ = ("_behind", "_bound", "_by_topic", "_last", "_number", "_waiting", "all")

    def __init__(self) -> None:
        self.all: dict[SiblingT, int] = {}
        self._number = 0
        self._by_topic: _ByTopic[SiblingT] | None = None
        self._behind: dict[SiblingT, None] | None = None
        self._bound = UP_TO_DATE
        self._last: SiblingT | None = None
        self._waiting: dict[SiblingT, None] | None = None

    def add(self, own: SiblingT) -> None:
        """Take one more."""
        self._number += 1
        self.all[own] = self._number
        if self._by_topic is not None:
            self._by_topic.add(own)

    def remove(self, own: SiblingT) -> None:
        """Take out one that is closed."""
        del self.all[own]
        if self._by_topic is not None:
            self._by_topic.remove(own)
        if self._behind is not None:
            self._behind.pop(own, None)
        if self._waiting is not None:
            self._waiting.pop(own, None)
        if self._last is own:
            self._last = None

    def must_bring(self, own: SiblingT, message: Message) -> bool:
        """Tell whether a direct message is for one of them to bring.

        A live one of the same subscriber gets it from the hub. Without one, of those that
        read the first with the highest quality: it is the one that tells the writes.
        """
        all_of = self._matching(message)
        if any(one.state is State.LIVE for one in all_of):
            return False
        readers = [one for one in all_of if one.state is State.READING]
        return max(readers, key=lambda one: one.qos, default=own) is own

    def bring(self, own: SiblingT, message: Message) -> bool:
        """Tell whether another one than this brings a change that this one has read."""
        return any(
            one is not own and one.brings(message, own.qos) for one in self._matching(message)
        )

    def bequeath(self, message: Message) -> bool:
        """Give a direct message to one that reads yet; False when there is none."""
        for one in self._matching(message):
            if one.may_inherit(message):
                one.inherit(message)
                return True
        return False

    def _matching(self, message: Message) -> list[SiblingT]:
        """Those whose filters match a message's topic, in the order of their making."""
        if len(self.all) <= _FEW:
            return [one for one in self.all if one.matches(message)]
        if self._by_topic is None:
            self._by_topic = _ByTopic()
            for one in self.all:
                self._by_topic.add(one)
        return sorted(self._by_topic.match(message.topic), key=self.all.__getitem__)

    def note_place(self, own: SiblingT) -> None:
        """Note that one begins to read the log, or will have to; its place only grows then."""
        place = own.place
        if place == UP_TO_DATE:
            return
        if self._behind is None:
            self._behind = {}
        self._behind[own] = None
        self._bound = min(self._bound, place)

    def are_before(self, own: SiblingT, since: int) -> bool:
        """Whether others have yet to tell what came before this one began."""
        if since <= self._bound:
            return False
        last = self._last
        if last is not None and last is not own and last.place < since:
            return True
        return self._look(own) < since

    def _look(self, own: SiblingT) -> int:
        """Find the last of them, and return its place; not that of this one."""
        behind = [(one.place, one) for one in self._behind or ()]
        self._behind = {one: None for place, one in behind if place != UP_TO_DATE}
        self._bound = min((place for place, _ in behind), default=UP_TO_DATE)
        others = [each for each in behind if each[1] is not own]
        place, self._last = min(others, key=lambda each: each[0], default=(UP_TO_DATE, None))
        return place

    def wait(self, own: SiblingT) -> None:
        """Have this one called by `wake`: it waits for another one."""
        if self._waiting is None:
            self._waiting = {}
        self._waiting[own] = None

    def wake(self) -> None:
        """Let those go on that wait for another one."""
        waiting, self._waiting = self._waiting, None
        for one in waiting or ():
            one.resume()


class _ByTopic(Generic[SiblingT]):
    """Finds those that match a topic without asking all; a filter may be there twice."""

    __slots__ = ("_by_filter", "_index")

    def __init__(self) -> None:
        self._index: FilterIndex[dict[SiblingT, None]] = FilterIndex()
        self._by_filter: dict[str, dict[SiblingT, None]] = {}

    def add(self, one: SiblingT) -> None:
        of_filter = self._by_filter.get(one.filter)
        if of_filter is None:
            of_filter = self._by_filter[one.filter] = {}
            self._index.add(one.levels, of_filter)
        of_filter[one] = None

    def remove(self, one: SiblingT) -> None:
        of_filter = self._by_filter[one.filter]
        del of_filter[one]
        if not of_filter:
            del self._by_filter[one.filter]
            self._index.remove(one.levels)

    def match(self, topic: bytes) -> Iterator[SiblingT]:
        for of_filter in self._index.match(topic):
            yield from of_filter
