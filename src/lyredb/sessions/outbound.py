"""What goes out to a client with a session: what waits, what is in flight, what is done.

No protocol and no I/O. Messages come from the session's subscriptions in the order in which
they are to be sent, and wait here until the connection sends them. What was sent is not
taken again when the log is read once more, whatever the reason: after a wake, or by another
filter that begins earlier.

Invariants: a position of the log is at most once in the queue and in flight; what is in
flight is in the order of sending; `acknowledged` has every position that was sent, beyond
the one up to which all is done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, cast

from lyredb.delivery.message import Message as DeliveredMessage
from lyredb.errors import LyreError
from lyredb.plugins.delivery import Message
from lyredb.sessions.reading import Reader, Scan, Starts
from lyredb.sessions.receipts import MemberReceipts, Receipt
from lyredb.storage.session_row import GIVEN, InFlight, Start

Committed = Callable[[LyreError | None], None]


class Finder(Protocol):
    """Finds what is to be sent again."""

    def place_of(self, message: Message) -> tuple[int, bytes]:
        """Slot and key of a message's record."""

    def find(self, one: InFlight) -> Message | None:
        """The message, ``None`` when it is gone, or not to be seen any more."""


class Outbound:
    """The messages to one client; see the module.

    Attributes:
        in_flight: By packet identifier, in the order of sending.
        receipts: Of what groups have given, while they may not be on disk.
        waiting_bytes: Topics, payloads and properties of what waits.
        doubtful: Entries of the log up to this position may have been sent with QoS 1 by an
            owner that had no time to say so; 0 for none.

    Args:
        starts: Where each filter goes on.
        acknowledged: Positions that were sent and acknowledged, of the last owner.
        in_flight: Of the last owner, in the order of sending.
        finder: Finds messages again.
        on_change: Called when progress was made that is to be written some time.
        on_commit: Called with what is to be called back once all progress is on disk.
        doubtful: See above.
    """

    __slots__ = (
        "_finder",
        "_known",
        "_on_change",
        "_on_commit",
        "_queue",
        "_starts",
        "doubtful",
        "in_flight",
        "receipts",
        "waiting_bytes",
    )

    def __init__(
        self,
        starts: Starts,
        acknowledged: Iterable[int],
        in_flight: Iterable[InFlight],
        *,
        finder: Finder,
        on_change: Callable[[], None],
        on_commit: Callable[[Committed], None],
        doubtful: int = 0,
    ) -> None:
        self.in_flight: dict[int, InFlight] = {one.packet_id: one for one in in_flight}
        self.receipts = MemberReceipts()
        self.waiting_bytes = 0
        self.doubtful = doubtful
        self._starts = starts
        self._finder = finder
        self._on_change = on_change
        self._on_commit = on_commit
        self._queue: deque[tuple[Message, Scan | None, str]] = deque()
        own = (one.seq for one in self.in_flight.values() if not one.key and not one.is_given)
        self._known = {*acknowledged, *own}
        self._known.discard(0)  # which stands for messages that are in no log

    # What waits

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._queue)

    @property
    def head(self) -> Message | None:
        """The next message to send."""
        return self._queue[0][0] if self._queue else None

    @property
    def head_filter(self) -> str:
        """The filter that the next message is current state for; ``""`` where it is for all."""
        return self._queue[0][2] if self._queue else ""

    def take(self, messages: Sequence[Message], filter: str = "") -> None:
        """Have messages wait that neither wait nor were sent yet.

        Args:
            messages: In order.
            filter: Of the subscription that has read them; ``""`` for live ones.
        """
        known = self._known
        scan = self._starts.scan_of(filter) if filter else None
        for message in messages:
            if not message.current and message.seq:
                if message.seq in known:
                    continue
                known.add(message.seq)
            # Direct messages that were held while it was read are no part of it.
            part_of = scan if message.position else None
            if part_of is not None and part_of.note_taken(message):
                self._on_commit(_ignore)
            self._queue.append((message, part_of, filter if message.current else ""))
            self.waiting_bytes += _size(message)

    # What leaves

    def send(self, packet_id: int, qos: int) -> Message:
        """Take the head from the queue; it is in flight with this identifier from now on.

        Args:
            packet_id: 1 to 65,535, not in flight.
            qos: That it is sent with, 1 or 2.
        """
        message = self._leave()
        one = InFlight(packet_id, message.seq, qos)
        if message.current:
            one.slot, one.key = self._finder.place_of(message)
        self.in_flight[packet_id] = one
        return message

    def give(self, packet_id: int, seq: int, receipt: Receipt | None) -> None:
        """Have a message in flight, with QoS 2, that a group has given: it comes from no queue.

        The session's own filters may bring the same entry of the log besides. A receipt goes
        to disk with the next commit. When that is refused, another member gets the message:
        it is in flight no more, and among what ``receipts`` tells as refused.
        """
        self.in_flight[packet_id] = InFlight(packet_id, seq, 2, slot=GIVEN)
        if receipt is not None:
            self.receipts.add(packet_id, receipt)
        self._on_change()

    def take_back(self, packet_id: int) -> bool:
        """Forget what a group has given and was not sent; False when that may be on disk."""
        return self.receipts.take_back(packet_id) and self.completed(packet_id)

    def skip(self) -> Message:
        """Take the head from the queue; nobody acknowledges it (QoS 0, or too large)."""
        return self._leave()

    def _leave(self) -> Message:
        message, scan, _ = self._queue.popleft()
        self.waiting_bytes -= _size(message)
        if scan is not None:
            scan.note_sent(message)
        self._on_change()
        return message

    # What is acknowledged

    def acknowledge(self, packet_id: int) -> bool:
        """Take a PUBACK; False when nothing of QoS 1 has this identifier."""
        one = self.in_flight.get(packet_id)
        if one is None or one.qos != 1:
            return False
        del self.in_flight[packet_id]
        self._on_change()
        return True

    def received(self, packet_id: int) -> bool:
        """Take a PUBREC; False when nothing of QoS 2 has this identifier.

        From now on PUBREL is due; `commit` before it is sent. A second one changes nothing.
        """
        one = self.in_flight.get(packet_id)
        if one is None or one.qos != 2:
            return False
        one.released = True
        self._on_change()
        return True

    def completed(self, packet_id: int) -> bool:
        """Take a PUBCOMP, or a PUBREC that says no; False when nothing was due."""
        one = self.in_flight.get(packet_id)
        if one is None or one.qos != 2:
            return False
        del self.in_flight[packet_id]
        self._on_change()
        return True

    def commit(self, done: Committed) -> None:
        """Have everything up to now on disk, then ``done``.

        Before a PUBLISH of QoS 2 leaves, and before its PUBREL does. All that asks in one
        tick is one transaction.
        """
        self._on_commit(done)

    def resend(self) -> list[tuple[InFlight, Message | None]]:
        """What is in flight, in the order of sending, each with its message.

        Called once, after a wake and before anything else is sent. Of what was released
        PUBREL is sent again, and there is no message. Where the message is gone or may not
        be seen any more, QoS 1 is over and is left out, and QoS 2 is released, so that
        the client forgets the identifier too.
        """
        again: list[tuple[InFlight, Message | None]] = []
        for one in list(self.in_flight.values()):
            message = None if one.released else self._finder.find(one)
            if message is None and one.qos == 1:
                del self.in_flight[one.packet_id]
                continue
            one.released = message is None
            again.append((one, message))
        if again:
            self._on_change()
        return again

    # How far it is

    def reached(
        self, readers: Mapping[str, Reader] | None
    ) -> tuple[int, tuple[int, ...], tuple[Start, ...]]:
        """The position up to which all is done, what is done beyond it, and the starts.

        Args:
            readers: The subscriptions, by filter; ``None`` while some have not gone on yet,
                so that the position stays.
        """
        waiting = {one.seq for one, _, _ in self._queue if one.seq and not one.current}
        if readers is None:
            position, starts = self._starts.position, self._starts.kept()
        else:
            position, starts = self._starts.reached(readers, min(waiting, default=0) - 1)
        self._known = {seq for seq in self._known if seq > position}
        return position, tuple(sorted(self._known - waiting)), starts


def _ignore(error: LyreError | None) -> None:
    """Nobody waits for it."""


def _size(message: Message) -> int:
    payload = cast("DeliveredMessage", message).size_bytes
    return len(message.topic) + payload + len(message.properties)
