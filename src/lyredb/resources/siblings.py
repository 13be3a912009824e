"""The subscriptions of one subscriber, as one of them sees the others.

Where their filters overlap while some of them read, each change is told by one of them, and
what both of two match in the order of the log.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

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

    def is_before(self, position: int) -> bool:
        """Tell whether it has yet to tell what the log has up to a position."""

    def may_inherit(self, message: Message) -> bool:
        """Tell whether it has yet to read what a direct message waits for."""

    def inherit(self, message: Message) -> None:
        """Hold a direct message that came to one that has ended."""

    def resume(self) -> None:
        """Go on reading."""


SiblingT = TypeVar("SiblingT", bound=Sibling)


class Siblings(Generic[SiblingT]):
    """Those of one subscriber that are not closed; see the module.

    Attributes:
        all: In the order of their making.
    """

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: dict[SiblingT, None] = {}

    def must_bring(self, own: SiblingT, message: Message) -> bool:
        """Tell whether a direct message is for one of them to bring.

        A live one of the same subscriber gets it from the hub. Without one, of those that
        read the first with the highest quality: it is the one that tells the writes.
        """
        all_of = [one for one in self.all if one.matches(message)]
        if any(one.state is State.LIVE for one in all_of):
            return False
        readers = [one for one in all_of if one.state is State.READING]
        return max(readers, key=lambda one: one.qos, default=own) is own

    def bring(self, own: SiblingT, message: Message) -> bool:
        """Tell whether another one than this brings a change that this one has read."""
        return any(
            one is not own and one.matches(message) and one.brings(message, own.qos)
            for one in self.all
        )

    def bequeath(self, message: Message) -> bool:
        """Give a direct message to one that reads yet; False when there is none."""
        for one in self.all:
            if one.may_inherit(message):
                one.inherit(message)
                return True
        return False

    def are_before(self, own: SiblingT, since: int) -> bool:
        """Whether others have yet to tell what came before this one began."""
        return any(one is not own and one.is_before(since) for one in self.all)

    def wake(self) -> None:
        """Let those go on that wait for another one."""
        for one in self.all:
            one.resume()
