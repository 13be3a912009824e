"""Direct messages that arrive while current state is read, and wait for their turn.

A publisher that writes a record and then sends a message to its topic expects that
order. While a subscription reads, the write comes with its reading, perhaps later; so a
message waits until the reading has passed its record and stands where the tail stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lyredb.plugins.delivery import Batch, Message

Place = tuple[int, bytes]
"""Slot and key of a record."""

MAX_HELD: Final = 10_000
"""Messages that wait for one subscription; beyond it all go out at once, as losing them
would be worse than their order."""


class Held:
    """Stands in for the subscriber while it reads; a subscriber itself.

    Args:
        place_of: Returns slot and key of a message's record; asked once per message, as
            each step of the reading looks at all that wait.
        wanted: Tells whether this subscription has to bring a message; another one of
            the same subscriber may do it.
        overflow: Called when too many wait; takes them.
    """

    def __init__(
        self,
        place_of: Callable[[Message], Place],
        wanted: Callable[[Message], bool],
        overflow: Callable[[Sequence[Message]], None],
    ) -> None:
        self._place_of = place_of
        self._wanted = wanted
        self._overflow = overflow
        self._waiting: list[tuple[Place, Message]] = []

    @property
    def is_congested(self) -> bool:
        """Never: what waits here is bounded by `MAX_HELD`."""
        return False

    def write(self, batch: Batch) -> None:
        """Never called: messages are taken as they are."""
        raise AssertionError("messages are held, not frames")

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Keep the messages of a tick."""
        for message in messages:
            if self._wanted(message):
                self.add(message)
        if len(self._waiting) > MAX_HELD:
            self._overflow(self.take_all())

    def close(self, reason: Exception) -> None:
        """Forget what waits: the subscription ends."""
        self._waiting.clear()

    def add(self, message: Message) -> None:
        """Keep one message that another subscription held."""
        self._waiting.append((self._place_of(message), message))

    def take(self, has_read: Callable[[int, bytes], bool]) -> list[Message]:
        """Take out those whose record the reading has passed, in the order in which they came."""
        going: list[Message] = []
        staying: list[tuple[Place, Message]] = []
        for held in self._waiting:
            place, message = held
            if has_read(*place):
                going.append(message)
            else:
                staying.append(held)
        self._waiting = staying
        return going

    def take_all(self) -> list[Message]:
        """Take out all."""
        waiting, self._waiting = self._waiting, []
        return [message for _, message in waiting]
