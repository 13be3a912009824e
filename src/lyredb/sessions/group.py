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
from lyredb.sessions.group_session import GroupSession
from lyredb.sessions.receipts import Receipt

AHEAD: Final = 32
"""Messages that one member may have before they are acknowledged: enough for a network of
1 ms at 30,000/s, and little to be given again, or to wait behind a slow member."""
AHEAD_UNACKNOWLEDGED: Final = 1_024
"""The same of QoS 0, of which a worker says only that it has passed it on: what a burst of
one tick may bring."""
MAX_WAITING: Final = 10_000
"""Messages that wait at the owner for a member with room; further ones are dropped."""
_FIRST_NUMBER: Final = 65_536
"""Of messages that no session has; those of a session are packet identifiers, below it."""
_FULL_AT: Final = MAX_WAITING // 2
_EMPTY_AT: Final = MAX_WAITING // 8

Settled = Callable[[bool], None]
"""Told of the end of a message: True, or False when another member should get it."""


class Member(Protocol):
    """One subscriber of a group, on this worker."""

    @property
    def is_congested(self) -> bool:
        """True while more waits for it than it should."""

    def tell(
        self,
        message: Message,
        settled: Settled,
        taken: Callable[[], None],
        receipt: Receipt | None,
    ) -> None:
        """Send a message.

        Args:
            message: What to send.
            settled: Called once with its end, possibly before this returns.
            taken: Called at most once, before its end: it is the member's now, whatever
                becomes of its connection and of this worker.
            receipt: To be on disk before the message leaves with QoS 2.
        """

    def end(self, reason: Exception) -> None:
        """The group is over."""


class _Has:
    """A message that a member has."""

    __slots__ = ("is_taken", "message", "receipt", "settled")

    def __init__(self, message: Message, settled: Settled, receipt: Receipt | None) -> None:
        self.is_taken = False
        self.message = message
        self.receipt = receipt
        self.settled = settled

    def take(self) -> None:
        """Tell its owner, once, that it is at its end or will be brought there."""
        if not self.is_taken:
            self.is_taken = True
            self.settled(True)


class Desk:
    """The members of a group on one worker, and what waits for one of them.

    Attributes:
        members: How many messages each has; those that are full are among them.
    """

    def __init__(self) -> None:
        self.members: dict[Member, int] = {}
        self._ready: deque[Member] = deque()
        self._queue: deque[tuple[Message, Settled, Receipt | None]] = deque()
        self._is_handing_out = False
        self._held = 0
        self._epoch = 0

    def add(self, member: Member) -> None:
        """Somebody joins."""
        self.members[member] = 0
        self._ready.append(member)
        self.hand_out()

    def remove(self, member: Member) -> None:
        """Somebody leaves; what it has is still settled by it, one way or the other.

        `give_back` is due, once the owner knows that there is one less.
        """
        self._held -= self.members.pop(member, 0)
        if member in self._ready:
            self._ready.remove(member)

    def give_back(self) -> None:
        """Return what is more than the members may have, as others may have room."""
        excess = self._held + len(self._queue) - AHEAD * len(self.members)
        back = [self._queue.popleft() for _ in range(min(excess, len(self._queue)))]
        for _, settled, _ in back:
            settled(False)

    def drop_of_others(self, epoch: int) -> None:
        """Forget what former owners than that with this epoch gave, and it gives again.

        That is what has a receipt; of what has none nobody but this worker knows.
        """
        self._epoch = epoch
        self._queue = deque(one for one in self._queue if not self._is_void(one[2]))

    def _is_void(self, receipt: Receipt | None) -> bool:
        return receipt is not None and (receipt.is_void or receipt.epoch < self._epoch)

    def offer(self, message: Message, settled: Settled, receipt: Receipt | None = None) -> None:
        """Give a message to a member, as soon as one has room."""
        if not self.members:
            settled(False)
            return
        self._queue.append((message, settled, receipt))
        self.hand_out()

    def hand_out(self) -> None:
        """Give out what waits, as far as members have room; in turns."""
        if self._is_handing_out:
            return  # a member that settles at once: the loop below goes on
        self._is_handing_out = True
        try:
            while self._queue and (member := self._next()) is not None:
                message, settled, receipt = self._queue.popleft()
                self.members[member] += 1
                self._held += 1
                has = _Has(message, settled, receipt)
                member.tell(message, partial(self._settle, member, has), has.take, receipt)
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

    def _settle(self, member: Member, given: _Has, is_done: bool) -> None:
        has = self.members.get(member)
        is_void = self._is_void(given.receipt)
        if has is not None:
            self.members[member] = has - 1
            self._held -= 1
            if (is_done or is_void) and member not in self._ready:
                self._ready.append(member)
        if is_done or given.is_taken:
            given.take()
        elif not is_void:  # else the owner of now gives it
            self._refused(member, given)
        self.hand_out()

    def _refused(self, member: Member, given: _Has) -> None:
        """A member takes a message no more: it is put aside until it settles another one.

        Where those that stay have as many as they may have, others may have room.
        """
        if member in self._ready:
            self._ready.remove(member)
        if self._held + len(self._queue) < AHEAD * len(self.members):
            self._queue.appendleft((given.message, given.settled, given.receipt))
        else:
            given.settled(False)

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
        self._waiting: deque[tuple[Message, int]] = deque()
        self._number = _FIRST_NUMBER
        self._session: GroupSession | None = None
        self._fall_behind: Callable[[], None] | None = None
        self._told_congested = False
        self._is_giving = False

    @property
    def members(self) -> int:
        """On all workers."""
        return sum(place.count for place in self._places.values())

    @property
    def waiting(self) -> int:
        """Messages that no member has room for."""
        return len(self._waiting) + (0 if self._session is None else self._session.waiting)

    def keep(self, session: GroupSession, fall_behind: Callable[[], None]) -> None:
        """Have what the log has go through a session from now on.

        Args:
            session: The group's.
            fall_behind: Ends what comes until `on_drained`: the log has it.
        """
        self._session = session
        self._fall_behind = fall_behind
        self._waiting.extendleft(reversed(session.given_up()))
        self.give_out()

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

    def lose(self, worker: int) -> dict[int, Message]:
        """A worker is gone: others get what its members had not acknowledged.

        Returns what its members may have taken, by number; `resolve` is due for those.
        """
        place = self._places.pop(worker, None)
        if place is None:
            return {}
        session = self._session
        receipted = () if session is None else session.receipted
        doubtful = {number: each for number, each in place.has.items() if number in receipted}
        self._take_back(each for each in place.has.items() if each[0] not in doubtful)
        return doubtful

    def resolve(self, doubtful: dict[int, Message]) -> None:
        """Give again what nobody has taken; all receipts are on disk that ever will be."""
        assert self._session is not None, "only a session has receipts"
        taken = self._session.taken(doubtful)
        for number in taken:
            self._session.settle(number)
        self._take_back(each for each in doubtful.items() if each[0] not in taken)

    def settle(self, worker: int, number: int, *, is_done: bool) -> None:
        """A message is at its end, or comes back."""
        place = self._places.get(worker)
        message = None if place is None else place.has.pop(number, None)
        if place is None or message is None:
            return
        if not place.count and not place.has:
            del self._places[worker]
        if not is_done:
            self._take_back(((number, message),))
            return
        if self._session is not None and number < _FIRST_NUMBER:
            self._session.settle(number)
        self.give_out()

    def end(self) -> None:
        """Give nothing any more; what was given and is not settled is as the session has it."""
        self._places.clear()

    def _take_back(self, given: Iterable[tuple[int, Message]]) -> None:
        back = [(message, number) for number, message in given]
        if self._session is not None:
            for _, number in back:
                self._session.take_back(number)
        self._waiting.extendleft(reversed(back))
        self.give_out()

    def write(self, batch: Batch) -> None:
        """Never called: a group takes messages."""
        raise TypeError("a group takes messages")

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Take what is to be shared (`Subscriber`)."""
        if self._session is not None:
            logged = [message for message in messages if message.seq]
            messages = [message for message in messages if not message.seq]
            self._session.stored.outbound.take(logged)
        self._waiting.extend((message, 0) for message in messages)
        self.give_out()
        while len(self._waiting) > MAX_WAITING:
            self._waiting.pop()
            self.dropped += 1
        if self._fall_behind is not None and self.waiting > MAX_WAITING:
            self._told_congested = True
            self._fall_behind()

    def take_read(self, messages: Sequence[Message]) -> None:
        """Take what was read of the log, for a group with a session."""
        if self._session is not None:
            self._session.stored.outbound.take(messages, self._session.filter)
            self.give_out()

    @property
    def is_congested(self) -> bool:
        """True while much waits for a member with room (`Subscriber`)."""
        self._told_congested = self.waiting >= _FULL_AT
        return self._told_congested

    def close(self, reason: Exception) -> None:
        """The subscription has ended (`Subscriber`)."""
        self._on_end(reason)

    def stop(self) -> None:
        """Give nothing any more: the group ends here, and what comes back is the next owner's."""
        self._places.clear()
        self._waiting.clear()

    def give_out(self) -> None:
        """Give what waits to places with room, each its share."""
        if self._is_giving:
            return  # a member that settles at once: the loop below goes on
        self._is_giving = True
        try:
            while (head := self._head()) is not None and (
                place := self._next(head.qos)
            ) is not None:
                message, number = self._take()
                if not number:
                    self._number += 1
                    number = self._number
                place.has[number] = message
                place.turn += 1 / place.count
                place.give(message, number)
        finally:
            self._is_giving = False
        if self._told_congested and self.waiting <= _EMPTY_AT:
            self._told_congested = False
            self._on_drained()

    def _head(self) -> Message | None:
        """What is given next: what was given before, and what the log has not, come first."""
        if self._waiting:
            return self._waiting[0][0]
        session = self._session
        return session.head if session is not None and session.has_free_id else None

    def _take(self) -> tuple[Message, int]:
        if self._waiting:
            return self._waiting.popleft()
        assert self._session is not None, "it has the head"
        return self._session.take()

    def _next(self, qos: int) -> Place | None:
        found = None
        for place in self._places.values():
            if place.has_room(qos) and (found is None or place.turn < found.turn):
                found = place
        return found
