"""PUBACKs, PUBRECs and PUBCOMPs leave in the order in which their packets came.

[MQTT-4.6.0-2] and [MQTT-4.6.0-3] demand it of the first two. A message that went to the disk
is acknowledged after its commit; what came after it waits behind it. While nothing waits for
a commit the queue costs nothing: the hot loop adds its acknowledgements to ``ready`` as one
piece per chunk.
"""

from __future__ import annotations

from collections import deque


class Pending:
    """The place of what is not answered yet, of one packet or of several.

    Attributes:
        count: How many of the client's quota it holds.
        frames: What is sent in its place; ``b""`` for nothing; None until decided.
        packet_id: Of one message.
        qos: Of one message, 1 or 2.
    """

    __slots__ = ("count", "frames", "packet_id", "qos")

    def __init__(
        self, count: int, frames: bytes | bytearray | None, packet_id: int = 0, qos: int = 1
    ) -> None:
        self.count = count
        self.frames = frames
        self.packet_id = packet_id
        self.qos = qos


class AckQueue:
    """The acknowledgements of one connection.

    Attributes:
        ready: Frames that may be sent; whoever sends them sets it to ``b""``.
        outstanding: Messages that came and are not acknowledged (MQTT 5 §3.1.2.11.3). A
            message of QoS 2 is not counted here once its identifier is remembered
            (`lyredb.protocols.mqtt.exactly_once`).
    """

    __slots__ = ("_waiting", "outstanding", "ready")

    def __init__(self) -> None:
        # Made when there is something, as most clients are idle: empty ones have 56 bytes
        # and 620.
        self.ready: bytes | bytearray = b""
        self._waiting: deque[Pending] | None = None
        self.outstanding = 0

    def add(self, frames: bytes | bytearray, count: int) -> None:
        """Send what waits for nothing itself.

        Args:
            frames: To be sent behind all that waits.
            count: Messages whose place in the client's quota is free with that.
        """
        if self._waiting:
            self._waiting.append(Pending(count, frames))
            self.outstanding += count
        else:
            self._send(frames)

    def reserve(self, count: int = 1, packet_id: int = 0, qos: int = 1) -> Pending:
        """Keep the place of messages whose outcome is not known yet."""
        pending = Pending(count, None, packet_id, qos)
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(pending)
        self.outstanding += count
        return pending

    def decide(self, pending: Pending, frames: bytes | bytearray, remembered: int = 0) -> None:
        """Set what ``pending`` is answered with, once, and let go what waited for it.

        Args:
            pending: Of `reserve`.
            frames: ``b""`` for no answer.
            remembered: Messages of QoS 2 among those of ``pending``, which are counted by
                their identifiers from now on.
        """
        assert pending.frames is None, "an acknowledgement is decided once"
        pending.frames = frames
        pending.count -= remembered
        self.outstanding -= remembered
        waiting = self._waiting
        while waiting:
            head = waiting[0]
            if head.frames is None:
                return
            self._send(head.frames)
            self.outstanding -= head.count
            waiting.popleft()
        self._waiting = None

    def _send(self, frames: bytes | bytearray) -> None:
        if self.ready:
            self.ready += frames
        else:
            self.ready = bytearray(frames)
