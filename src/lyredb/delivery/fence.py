"""The fence: direct messages wait behind writes of the same record.

A write goes through the log and is told from the tail; a direct message published
after it must not overtake it. So between sending a write and its entry passing the
tail, messages for that record stand in a queue with a mark per write. Marks are
resolved in order, as the writer replies in order of arrival, and a message goes once
every mark before it has passed: each message keeps its place between the writes.

Messages of other workers do not wait: they come behind the writes that they follow.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from lyredb.plugins.delivery import Publisher

if TYPE_CHECKING:
    from lyredb.delivery.message import Message
    from lyredb.delivery.routes import Path

MAX_HELD_BYTES: Final = 1_000_000
"""Beyond it, who publishes to the record waits for its write too."""

FAILED: Final = 0
"""The position of a write that changed nothing."""
_UNKNOWN: Final = -1


class Mark:
    """A write that was sent.

    Attributes:
        seq: Its position, `FAILED`, or -1 while there is no reply.
    """

    __slots__ = ("seq",)

    def __init__(self) -> None:
        self.seq = _UNKNOWN

    def has_passed(self, position: int) -> bool:
        """Tell whether the tail at this position has told what was written."""
        return self.seq != _UNKNOWN and self.seq <= position


class HeldMessage:
    """A message that waits, with all that `Ingress.push` was given."""

    __slots__ = ("message", "path", "publisher", "raw", "raw_id")

    def __init__(
        self, path: Path, message: Message, publisher: Publisher | None, raw: bytes, raw_id: int
    ) -> None:
        self.path = path
        self.message = message
        self.publisher = publisher
        self.raw = raw
        self.raw_id = raw_id

    @property
    def size_bytes(self) -> int:
        """What it keeps in memory, about."""
        return len(self.raw) + self.message.size_bytes


class Hold:
    """The queue of one record.

    While no message waits, which is nearly always, it is two numbers: a write needs no mark of
    its own until something is to keep its place behind it.
    """

    __slots__ = ("_bytes", "_last", "_marks", "_paused", "_queue", "_unresolved")

    def __init__(self) -> None:
        self._unresolved = 0
        self._last = FAILED  # position of the last write with a reply
        # With messages alone, and as long as any waits: writes and messages in their order,
        # and those of the writes that have no reply.
        self._queue: deque[Mark | HeldMessage] | None = None
        self._marks: deque[Mark] | None = None
        self._paused: dict[Publisher, None] | None = None
        self._bytes = 0

    @property
    def has_queue(self) -> bool:
        """True when a message has waited since the hold began."""
        return self._queue is not None

    @property
    def ends_with_message(self) -> bool:
        """True when a message waits behind the last write."""
        queue = self._queue
        return queue is not None and len(queue) > 0 and not isinstance(queue[-1], Mark)

    def is_due(self, position: int) -> bool:
        """Tell whether a tail at this position lets go of anything."""
        queue = self._queue
        if not queue:
            return False
        first = queue[0]
        return not isinstance(first, Mark) or first.has_passed(position)

    def is_over(self, position: int) -> bool:
        """Tell whether nothing waits, and a tail at this position has told every write."""
        return not self._unresolved and self._last <= position and not self._queue

    def expect(self) -> None:
        """Note a write that is being sent."""
        self._unresolved += 1
        if self._queue is not None and self._marks is not None:
            mark = Mark()
            self._queue.append(mark)
            self._marks.append(mark)

    def resolve(self, seq: int) -> None:
        """Note the reply to the oldest write without one."""
        self._unresolved -= 1
        if seq != FAILED:
            self._last = seq
        if self._marks is not None:
            self._marks.popleft().seq = seq

    def wait(self, held: HeldMessage) -> None:
        """Let a message wait; above the limit its publisher waits with it."""
        if self._queue is None:
            self._begin_queue()
        assert self._queue is not None, "just begun"
        self._queue.append(held)
        self._bytes += held.size_bytes
        publisher = held.publisher
        if self._bytes > MAX_HELD_BYTES and publisher is not None:
            if self._paused is None:
                self._paused = {}
            if publisher not in self._paused:
                self._paused[publisher] = None
                publisher.pause_reading(self)

    def _begin_queue(self) -> None:
        """Make marks of the writes so far; one stands for all that have their reply."""
        told = Mark()
        told.seq = self._last
        self._marks = deque([Mark() for _ in range(self._unresolved)])
        self._queue = deque((told, *self._marks))

    def pass_to(self, position: int) -> list[HeldMessage]:
        """Take out the messages that may go now that the tail stands at ``position``."""
        ready: list[HeldMessage] = []
        queue = self._queue
        if queue is None:
            return ready
        while queue:
            first = queue[0]
            if isinstance(first, Mark):
                if not first.has_passed(position):
                    break
            else:
                ready.append(first)
                self._bytes -= first.size_bytes
            queue.popleft()
        return ready

    def take_last(self) -> list[HeldMessage]:
        """Take out the messages behind the last write.

        They are told no sooner than that write; whoever takes them says how.
        """
        taken: list[HeldMessage] = []
        queue = self._queue
        while queue:
            last = queue[-1]
            if isinstance(last, Mark):
                break
            queue.pop()
            taken.append(last)
        self._bytes -= sum(held.size_bytes for held in taken)
        return taken[::-1]

    def resume(self) -> None:
        """Read from who waited, once less than the limit waits."""
        if self._paused and self._bytes <= MAX_HELD_BYTES:
            paused, self._paused = self._paused, None
            for publisher in paused:
                publisher.resume_reading(self)
