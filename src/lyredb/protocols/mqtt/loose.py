"""What waits for a client and is not in its session's queue: somebody else has it, or nobody.

Frames of ``$SYS`` and of replay, and messages of shared groups, whose owner is told of their end.
No I/O.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from lyredb.sessions.receipts import Receipt


class Loose(NamedTuple):
    """One frame.

    Attributes:
        frame: The PUBLISH.
        offset: Of its packet identifier, 0 for none.
        qos: 0 to 2.
        settled: Told of its end, where somebody asks.
        seq: Its log entry where the session is to keep it once it leaves, else 0.
        taken: Told that the session has it, whatever comes.
        receipt: Of a shared group, to be on disk with that.
    """

    frame: bytes
    offset: int
    qos: int
    settled: Callable[[bool], None] | None = None
    seq: int = 0
    taken: Callable[[], None] | None = None
    receipt: Receipt | None = None


class LooseQueue:
    """The frames in order.

    Attributes:
        waiting_bytes: Of all of them.
    """

    __slots__ = ("_frames", "waiting_bytes")

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self._frames: deque[Loose] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def head(self) -> Loose | None:
        """The next one to send."""
        return self._frames[0] if self._frames else None

    def put(self, loose: Loose) -> None:
        """Have one wait."""
        self._frames.append(loose)
        self.waiting_bytes += len(loose.frame)

    def pop(self) -> Loose:
        """Take the head."""
        loose = self._frames.popleft()
        self.waiting_bytes -= len(loose.frame)
        return loose

    def close(self) -> int:
        """Send none of them; returns how many there were."""
        frames, self._frames = self._frames, deque()
        self.waiting_bytes = 0
        for one in frames:
            if one.settled is not None:
                one.settled(False)
        return len(frames)
