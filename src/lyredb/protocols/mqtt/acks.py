"""PUBACKs leave in the order in which their messages came [MQTT-4.6.0-2].

A message that went to the disk is acknowledged after its commit; what came after it
waits behind it. While nothing waits for a commit the queue costs nothing: the hot
loop adds its acknowledgements to ``ready`` as one piece per chunk.
"""

from __future__ import annotations

from collections import deque


class Pending:
    """One acknowledgement that is not decided yet.

    Attributes:
        frame: The PUBACK; ``b""`` when the message gets none; None until decided.
    """

    __slots__ = ("frame", "packet_id")

    def __init__(self, packet_id: int) -> None:
        self.packet_id = packet_id
        self.frame: bytes | None = None


class AckQueue:
    """The acknowledgements of one connection.

    Attributes:
        ready: Frames that may be sent; whoever sends them sets it to ``b""``.
    """

    __slots__ = ("_waiting", "_waiting_frames", "ready")

    def __init__(self) -> None:
        # Made when there is something, as most clients are idle: empty ones have 56 bytes
        # and 620.
        self.ready: bytes | bytearray = b""
        self._waiting: deque[Pending | bytes] | None = None
        self._waiting_frames = 0

    @property
    def outstanding(self) -> int:
        """Messages that came and are not acknowledged (MQTT 5 §3.1.2.11.3)."""
        return self._waiting_frames

    def add(self, frames: bytes | bytearray, count: int) -> None:
        """Acknowledge ``count`` messages that wait for nothing themselves."""
        if self._waiting:
            self._waiting.append(bytes(frames))
            self._waiting_frames += count
        else:
            self._send(frames)

    def reserve(self, packet_id: int) -> Pending:
        """Keep the place of a message whose outcome is not known yet."""
        pending = Pending(packet_id)
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(pending)
        self._waiting_frames += 1
        return pending

    def decide(self, pending: Pending, frame: bytes) -> None:
        """Set what ``pending`` is answered with, once, and let go what waited for it."""
        assert pending.frame is None, "an acknowledgement is decided once"
        pending.frame = frame
        waiting = self._waiting
        while waiting:
            head = waiting[0]
            if isinstance(head, bytes):
                self._send(head)
                # Only successes wait as bytes, and these have four each.
                self._waiting_frames -= len(head) // 4
            elif head.frame is not None:
                self._send(head.frame)
                self._waiting_frames -= 1
            else:
                return
            waiting.popleft()
        self._waiting = None

    def _send(self, frames: bytes | bytearray) -> None:
        if self.ready:
            self.ready += frames
        else:
            self.ready = bytearray(frames)
