"""Direct messages that arrive while a subscription reads, and wait for their turn.

A publisher that writes a record and then sends a message to its topic expects that
order. While a subscription reads, the write comes with its reading, perhaps later; so a
message waits until the reading has passed its record and stands where the tail stands.

A subscriber that is set aside because it reads too slowly gets none of them: they are
only counted, so that it can be told how many it has missed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from lyredb.delivery.message import Message as DeliveredMessage
from lyredb.plugins.delivery import Batch, Message

Place = tuple[int, bytes]
"""Slot and key of a record."""

MAX_HELD: Final = 10_000
"""Messages that wait for one subscription; what becomes of them beyond it is the
subscription's business."""
MAX_HELD_BYTES: Final = 4_000_000
"""The same in bytes: room for some messages of the largest kind."""
MAX_ALL_BYTES: Final = 64_000_000
"""For all subscriptions of a worker: sixteen that hold the most."""
_OVERHEAD_BYTES: Final = 400
"""Of a message beside its payload, about."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Direct messages that a subscriber did not get.

    Attributes:
        messages: How many.
        from_ms: When the first of them was published, epoch milliseconds.
        to_ms: When the last one was.
    """

    messages: int
    from_ms: int
    to_ms: int


class HeldBytes:
    """What all of a worker hold.

    Attributes:
        total: In bytes; a message that several hold counts for each.
    """

    def __init__(self) -> None:
        self.total = 0


class Held:
    """Stands in for the subscriber while it reads or is set aside; a subscriber itself.

    Args:
        place_of: Returns slot and key of a message's record; asked once per message, as
            each step of the reading looks at all that wait.
        wanted: Tells whether this subscription has to bring a message; another one of
            the same subscriber may do it.
        overflow: Called when too many wait; takes them all, or has them counted only.
        all_held: Counts what is held here too.
    """

    __slots__ = (
        "_all",
        "_bytes",
        "_from_ms",
        "_is_counting",
        "_missed",
        "_overflow",
        "_place_of",
        "_to_ms",
        "_waiting",
        "_wanted",
    )

    def __init__(
        self,
        place_of: Callable[[Message], Place],
        wanted: Callable[[Message], bool],
        overflow: Callable[[], None],
        all_held: HeldBytes,
    ) -> None:
        self._place_of = place_of
        self._wanted = wanted
        self._overflow = overflow
        self._all = all_held
        self._waiting: list[tuple[Place, Message]] = []
        self._bytes = 0
        self._is_counting = False
        self._missed = 0
        self._from_ms = self._to_ms = 0

    @property
    def is_congested(self) -> bool:
        """Never: what waits here is bounded."""
        return False

    def write(self, batch: Batch) -> None:
        """Never called: messages are taken as they are."""
        raise AssertionError("messages are held, not frames")

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Keep the messages of a tick, or count them."""
        for message in messages:
            if self._wanted(message):
                self.add(message)
        if self._is_full:
            self._overflow()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing was missed that is still to be told."""
        return not self._waiting and not self._missed

    @property
    def _is_full(self) -> bool:
        return bool(self._waiting) and (
            len(self._waiting) > MAX_HELD
            or self._bytes > MAX_HELD_BYTES
            or self._all.total > MAX_ALL_BYTES
        )

    def close(self, reason: Exception) -> None:
        """Keep nothing of what waits; it counts as missed."""
        self._miss_waiting()

    def add(self, message: Message) -> None:
        """Keep one message, or count it."""
        if self._is_counting:
            self._miss(message)
            return
        self._waiting.append((self._place_of(message), message))
        self._note(_size_of(message))

    def count_only(self) -> None:
        """Keep no messages from now on, until `keep`; those that wait count as missed."""
        self._is_counting = True
        self._miss_waiting()

    def keep(self) -> None:
        """Keep messages again."""
        self._is_counting = False

    def take_gap(self) -> Gap | None:
        """Return what was missed since the last call, ``None`` for nothing."""
        if not self._missed:
            return None
        gap = Gap(self._missed, self._from_ms, self._to_ms)
        self._missed = 0
        return gap

    def _miss_waiting(self) -> None:
        for message in self.take_all():
            self._miss(message)

    def _miss(self, message: Message) -> None:
        if not self._missed:
            self._from_ms = self._to_ms = message.local_ms
        self._missed += 1
        # Those of other workers come a little later than our own.
        self._from_ms = min(self._from_ms, message.local_ms)
        self._to_ms = max(self._to_ms, message.local_ms)

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
        self._note(-sum(map(_size_of, going)))
        return going

    def take_all(self) -> list[Message]:
        """Take out all."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, []
        self._note(-self._bytes)
        return [message for _, message in waiting]

    def _note(self, size: int) -> None:
        self._bytes += size
        self._all.total += size


def _size_of(message: Message) -> int:
    return cast(DeliveredMessage, message).size_bytes + _OVERHEAD_BYTES
