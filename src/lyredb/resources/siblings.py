"""The subscriptions of one subscriber, as one of them sees the others.

Where their filters overlap while some of them read, each change is told by one of them, and
what both of two match in the order of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

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


class Siblings:
    """See the module.

    Args:
        own: Whose others they are.
        all_of: All of the subscriber, itself too, in the order of their making.
        in_order: It is of a session: what comes from the log is told in its order, also
            where a filter begins while others are behind.
    """

    __slots__ = ("_all_of", "_in_order", "_own")

    def __init__(
        self, own: Sibling, all_of: Callable[[], Iterable[Sibling]], *, in_order: bool
    ) -> None:
        self._own = own
        self._all_of = all_of
        self._in_order = in_order

    def must_bring(self, message: Message) -> bool:
        """Tell whether a direct message is for this subscription to bring.

        A live one of the same subscriber gets it from the hub. Without one, of those that
        read the first with the highest quality: it is the one that tells the writes.
        """
        all_of = [one for one in self._all_of() if one.matches(message)]
        if any(one.state is State.LIVE for one in all_of):
            return False
        readers = [one for one in all_of if one.state is State.READING]
        return max(readers, key=lambda one: one.qos, default=self._own) is self._own

    def bring(self, message: Message) -> bool:
        """Tell whether another one brings a change that this one has read."""
        own = self._own
        return any(
            one is not own and one.matches(message) and one.brings(message, own.qos)
            for one in self._all_of()
        )

    def bequeath(self, message: Message) -> bool:
        """Give a direct message to one that reads yet; False when there is none."""
        for one in self._all_of():
            if one.may_inherit(message):
                one.inherit(message)
                return True
        return False

    def are_before(self, since: int) -> bool:
        """Whether others of the session have yet to tell what came before this one began."""
        return self._in_order and any(
            one is not self._own and one.is_before(since) for one in self._all_of()
        )

    def wake(self) -> None:
        """Let those go on that wait for this one."""
        if self._in_order:
            for one in self._all_of():
                one.resume()
