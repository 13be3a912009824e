"""What a client is told of each message that it published: taken, or why not."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final, Protocol

from lyredb.errors import LyreError, SessionTakenOver
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.acks import AckQueue, Pending
from lyredb.protocols.mqtt.errors import answer_for, sentence_of
from lyredb.protocols.mqtt.reasons import Reason
from lyredb.protocols.mqtt.statistics import Counters

logger = logging.getLogger("lyredb.mqtt")

_FRAME: Final = 4
"""Bytes of an acknowledgement that says success."""


class Owner(Protocol):
    """The connection, as its answers need it."""

    def fail(self, error: Exception) -> None:
        """End the connection because of an error that another try may not meet."""

    def sentence(self, text: str, beside: int = 0) -> str:
        """The text, or ``""`` when the client must not get it beside so many bytes."""


class Replies:
    """Answers the messages of one connection.

    Args:
        owner: The connection.
        acks: Where answers go.
        counters: Count what is refused.
        session: Stands in log lines.
        is_v5: Whether the client can be told a reason.
    """

    __slots__ = ("_acks", "_counters", "_is_v5", "_logged", "_owner", "_session")

    def __init__(
        self, owner: Owner, acks: AckQueue, counters: Counters, session: int, *, is_v5: bool
    ) -> None:
        self._owner = owner
        self._acks = acks
        self._counters = counters
        self._session = session
        self._is_v5 = is_v5
        self._logged: set[type[Exception]] | None = None

    def accept(self, pending: Pending | None) -> None:
        """Acknowledge one message; its identifier is remembered already if it is of QoS 2."""
        if pending is None:
            return
        if pending.qos == 2:
            self._acks.decide(pending, encode.pubrec(pending.packet_id), remembered=1)
        else:
            self._acks.decide(pending, encode.puback(pending.packet_id))

    def refuse(self, pending: Pending | None, error: LyreError) -> None:
        """Answer a message that was not taken.

        v5 clients get the reason, and a message of QoS 2 is over with it (§4.3.3). The
        acknowledgements of 3.1.1 cannot say no: a refusal that would come again is
        acknowledged without effect, since the client could only repeat it for ever; for the
        others the connection ends without one, and the client may try again when it comes
        back. A connection that has lost its session says nothing more of its messages to any
        client: its successor decides about them.
        """
        self._counters.refused += 1
        self._log_once(error)
        if pending is None:
            return
        if self._may_answer(error):
            number = pending.packet_id.to_bytes(2, "big")
            kind = 0x40 if pending.qos == 1 else 0x50
            reason, sentence = self._words(error)
            self._acks.decide(pending, _refusal(kind, number, reason, sentence))
        else:
            self._owner.fail(error)

    def refuse_some(
        self,
        pending: Pending,
        frames: bytes | bytearray,
        refused: Collection[bytes],
        error: LyreError,
    ) -> None:
        """As `refuse`, for those of a batch that went to the disk together.

        Args:
            pending: Of the batch.
            frames: What it would have been answered with: successes only.
            refused: The frames among them that may not be sent.
            error: The same for all.
        """
        self._counters.refused += len(refused)
        self._log_once(error)
        if not self._may_answer(error):
            self._owner.fail(error)
            return
        reason, sentence = self._words(error)
        told = bytearray()
        for at in range(0, len(frames), _FRAME):
            frame = bytes(frames[at : at + _FRAME])
            if frame in refused:
                frame = _refusal(frame[0], frame[2:], reason, sentence)
            told += frame
        self._acks.decide(pending, told)

    def _may_answer(self, error: LyreError) -> bool:
        if isinstance(error, SessionTakenOver):
            return False
        return self._is_v5 or answer_for(error).lasting

    def _words(self, error: LyreError) -> tuple[int, str]:
        if not self._is_v5:
            return Reason.SUCCESS, ""
        return answer_for(error).publish, self._owner.sentence(sentence_of(error))

    def _log_once(self, error: LyreError) -> None:
        """One line per connection and kind of refusal: a client may repeat it for ever."""
        kind = type(error)
        if self._logged is None or kind not in self._logged:
            self._logged = {kind, *(self._logged or ())}
            logger.info(
                "mqtt session %d: message refused: %s: %s", self._session, kind.__name__, error
            )


def _refusal(kind: int, number: bytes, reason: int, sentence: str) -> bytes:
    reply = encode.puback if kind == 0x40 else encode.pubrec
    return reply(int.from_bytes(number, "big"), reason, sentence)
