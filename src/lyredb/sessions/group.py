r"""A group of shared subscribers, as one worker has it.

Its members here, and, if the worker owns the group, who has been given what.

The owner gives each message to one *place*, a worker with members, by how many members that
has; the place gives it to one of them. A member has at most `AHEAD` messages that are not
at their end, a place so many per member; what finds no room waits at the owner, within
bounds. A message that a member will not take any more goes to another one.

    hub --messages--> owner --GIVE--> place --tell--> member
                        ^--DONE--------/^---settled----/

Invariant: a message of a group is at one place at a time, and counts there until it is
settled or comes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch, Message

AHEAD: Final = 32
"""Messages that one member may have before they are acknowledged: enough for a network of
1 ms at 30,000/s, and little to be given again, or to wait behind a slow member."""
AHEAD_UNACKNOWLEDGED: Final = 1_024
"""The same of QoS 0, of which a worker says only that it has passed it on: what a burst of
one tick may bring."""
MAX_WAITING: Final = 10_000
"""Messages that wait at the owner for a member with room; further ones are dropped."""
_FULL_AT: Final = MAX_WAITING // 2
_EMPTY_AT: Final = MAX_WAITING // 8

Settled = Callable[[bool], None]
"""Told of the end of a message: True, or False when another member should get it."""


class Member(Protocol):
    """One subscriber of a group, on this worker."""

    @property
    def is_congested(self) -> bool:
        """True while more waits for it than it should."""

    def tell(self, message: Message, settled: Settled) -> None:
        """Send a message; ``settled`` is called once, possibly before this returns."""

    def end(self, reason: Exception) -> None:
        """The group is over."""


class Desk:
    """The members of a group on one worker, and what waits for one of them.

    Attributes:
        members: How many messages each has; those that are full are among them.
    """

    def __init__(self) -> None:
        self.members: dict[Member, int] = {}
        self._ready: deque[Member] = deque()
        self._queue: deque[tuple[Message, Settled]] = deque()
        self._is_handing_out = False

    def add(self, member: Member) -> None:
        """Somebody joins."""
        self.members[member] = 0
        self._ready.append(member)
        self.hand_out()

    def remove(self, member: Member) -> None:
        """Somebody leaves; what it has is still settled by it, one way or the other."""
        self.members.pop(member, None)
        if member in self._ready:
            self._ready.remove(member)
        if not self.members:
            queue, self._queue = self._queue, deque()
            for _, settled in queue:
                settled(False)

    def offer(self, message: Message, settled: Settled) -> None:
        """Give a message to a member, as soon as one has room."""
        if not self.members:
            settled(False)
            return
        self._queue.append((message, settled))
        self.hand_out()

    def hand_out(self) -> None:
        """Give out what waits, as far as members have room; in turns."""
        if self._is_handing_out:
            return  # a member that settles at once: the loop below goes on
        self._is_handing_out = True
        try:
            while self._queue and (member := self._next()) is not None:
                message, settled = self._queue.popleft()
                self.members[member] += 1
                member.tell(message, partial(self._settle, member, message, settled))
        finally:
            self._is_handing_out = False

    def _next(self) -> Member | None:
        ready = self._ready
        for _ in range(len(ready)):
            member = ready[0]
            if self.members[member] >= AHEAD:
                ready.popleft()
                continue
            ready.rotate(-1)
            if not member.is_congested:
                return member
        return None

    def _settle(self, member: Member, message: Message, settled: Settled, is_done: bool) -> None:
        has = self.members.get(member)
        if has is not None:
            self.members[member] = has - 1
            if is_done and member not in self._ready:
                self._ready.append(member)
        if is_done:
            settled(True)
        else:
            self._refused(member, message, settled)
        self.hand_out()

    def _refused(self, member: Member, message: Message, settled: Settled) -> None:
        """A member takes a message no more: it is put aside until it settles another one."""
        if member in self._ready:
            self._ready.remove(member)
        if self.members:
            self._queue.appendleft((message, settled))
        else:
            settled(False)

    def note_room(self, member: Member) -> None:
        """A member can take more again."""
        if member in self.members and member not in self._ready:
            self._ready.append(member)
        self.hand_out()


class Place:
    """A worker with members, as the owner sees it.

    Attributes:
        count: Of its members.
        has: Messages that it was given and that are not at their end, by number.
        turn: What it was given, per member; whoever has the least is next.
        give: Sends it a message with its number.
    """

    __slots__ = ("count", "give", "has", "turn")

    def __init__(self, give: Callable[[Message, int], None]) -> None:
        self.count = 0
        self.has: dict[int, Message] = {}
        self.turn = 0.0
        self.give = give

    def has_room(self, qos: int) -> bool:
        """Tell whether it may be given another message of this quality of service."""
        return len(self.has) < self.count * (AHEAD if qos else AHEAD_UNACKNOWLEDGED)


class Sharing:
    """The owner's part: gets the messages of a group and gives each to one place.

    A `lyredb.plugins.delivery.Subscriber`.

    Attributes:
        context: Whose rights decide: those of the member that came first.
        dropped: Messages for which there was no room.

    Args:
        on_drained: Called when it can take more again, after it was congested.
        on_end: Called when its subscription ends by itself.
    """

    def __init__(
        self,
        context: Context,
        *,
        on_drained: Callable[[], None],
        on_end: Callable[[Exception], None],
    ) -> None:
        self.context = context
        self.dropped = 0
        self._on_drained = on_drained
        self._on_end = on_end
        self._places: dict[int, Place] = {}
        self._waiting: deque[Message] = deque()
        self._number = 0
        self._told_congested = False
        self._is_giving = False

    @property
    def members(self) -> int:
        """On all workers."""
        return sum(place.count for place in self._places.values())

    @property
    def waiting(self) -> int:
        """Messages that no member has room for."""
        return len(self._waiting)

    def set_members(self, worker: int, count: int, give: Callable[[Message, int], None]) -> None:
        """Note how many members a worker has; one with none keeps what it was given."""
        place = self._places.get(worker)
        if place is None:
            if not count:
                return
            place = self._places[worker] = Place(give)
            place.turn = min((each.turn for each in self._places.values() if each.count), default=0)
        place.count = count
        if not count and not place.has:
            del self._places[worker]
        self.give_out()

    def lose(self, worker: int) -> None:
        """A worker is gone: others get what its members had not acknowledged."""
        place = self._places.pop(worker, None)
        if place is not None:
            self._take_back(place.has.values())

    def settle(self, worker: int, number: int, *, is_done: bool) -> None:
        """A message is at its end, or comes back."""
        place = self._places.get(worker)
        message = None if place is None else place.has.pop(number, None)
        if place is None or message is None:
            return
        if not place.count and not place.has:
            del self._places[worker]
        if not is_done:
            self._take_back((message,))
        elif self._waiting:
            self.give_out()

    def _take_back(self, messages: Iterable[Message]) -> None:
        self._waiting.extendleft(reversed(list(messages)))
        self.give_out()

    def write(self, batch: Batch) -> None:
        """Never called: a group takes messages."""
        raise TypeError("a group takes messages")

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Take what is to be shared (`Subscriber`)."""
        self._waiting.extend(messages)
        self.give_out()
        while len(self._waiting) > MAX_WAITING:
            self._waiting.pop()
            self.dropped += 1

    @property
    def is_congested(self) -> bool:
        """True while much waits for a member with room (`Subscriber`)."""
        self._told_congested = len(self._waiting) >= _FULL_AT
        return self._told_congested

    def close(self, reason: Exception) -> None:
        """The subscription has ended (`Subscriber`)."""
        self._on_end(reason)

    def give_out(self) -> None:
        """Give what waits to places with room, each its share."""
        if self._is_giving:
            return  # a member that settles at once: the loop below goes on
        self._is_giving = True
        try:
            while self._waiting and (place := self._next()) is not None:
                message = self._waiting.popleft()
                self._number += 1
                place.has[self._number] = message
                place.turn += 1 / place.count
                place.give(message, self._number)
        finally:
            self._is_giving = False
        if self._told_congested and len(self._waiting) <= _EMPTY_AT:
            self._told_congested = False
            self._on_drained()

    def _next(self) -> Place | None:
        found = None
        qos = self._waiting[0].qos
        for place in self._places.values():
            if place.has_room(qos) and (found is None or place.turn < found.turn):
                found = place
        return found
