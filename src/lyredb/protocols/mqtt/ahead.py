"""How far a client's messages may be ahead of the disk before it is not read any more."""

from __future__ import annotations

from lyredb.protocols.mqtt.acks import AckQueue
from lyredb.protocols.mqtt.limits import Limits


class Ahead:
    """Counts what a client sent and the disk does not have yet.

    Args:
        limits: What may wait.
        acks: Counts the messages that are acknowledged after their commit.
        is_v5: Whether the client counts these itself.
    """

    __slots__ = ("_acks", "_bytes", "_is_v5", "_limits", "_unacknowledged")

    def __init__(self, limits: Limits, acks: AckQueue, *, is_v5: bool) -> None:
        self._limits = limits
        self._acks = acks
        self._is_v5 = is_v5
        self._bytes = 0
        self._unacknowledged = 0

    def begin(self, size: int, *, is_acknowledged: bool) -> None:
        """Note that a write was sent, of so many bytes."""
        self._bytes += size
        self._unacknowledged += not is_acknowledged

    def end(self, size: int, *, is_acknowledged: bool) -> None:
        """Note that it was answered."""
        self._bytes -= size
        self._unacknowledged -= not is_acknowledged

    @property
    def is_too_far(self) -> bool:
        """True when so much waits for the disk that this client is not read.

        A v5 client counts its acknowledged messages itself, and is told when it does not.
        """
        limits = self._limits
        if self._unacknowledged >= limits.receive_maximum:
            return True
        if self._bytes > limits.unacknowledged_bytes:
            return True
        return not self._is_v5 and self._acks.outstanding >= limits.receive_maximum

    @property
    def is_near_again(self) -> bool:
        """True when half of what may wait is free: then the client is read again."""
        limits = self._limits
        most = limits.receive_maximum
        return (
            self._unacknowledged * 2 <= most
            and self._acks.outstanding * 2 <= most
            and self._bytes * 2 <= limits.unacknowledged_bytes
        )
