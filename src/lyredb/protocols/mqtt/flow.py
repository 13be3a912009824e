"""Flow control towards a publisher: its transport is read while nobody objects."""

from __future__ import annotations

import logging

from lyredb.protocols.mqtt.transport import Transport

logger = logging.getLogger("lyredb.mqtt")


class Reading:
    """The reasons why a transport is not read now.

    Args:
        transport: Paused with the first reason, resumed with the last.
    """

    __slots__ = ("_reasons", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._reasons: set[object] = set()

    @property
    def is_paused(self) -> bool:
        """True while there is a reason."""
        return bool(self._reasons)

    def pause(self, why: object) -> None:
        """Do not read until ``why`` is resumed; a second call with it does nothing."""
        if not self._reasons:
            try:
                self._transport.pause_reading()
            except RuntimeError:
                # uvloop refuses between a failed write and `connection_lost`.
                logger.debug("a transport closed before it could be paused")
        self._reasons.add(why)

    def resume(self, why: object) -> bool:
        """Take a reason back; True when it was the last one."""
        if why not in self._reasons:
            return False
        self._reasons.discard(why)
        if self._reasons:
            return False
        try:
            self._transport.resume_reading()
        except RuntimeError:
            logger.debug("a transport closed before it could be resumed")
        return True

    def forget(self) -> None:
        """Forget all reasons, of a transport that is closed."""
        self._reasons.clear()
