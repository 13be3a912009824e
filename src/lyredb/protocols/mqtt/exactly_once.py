"""The receiver's half of QoS 2: a message is told once, however often it is sent.

MQTT 5 §4.3.3, method B of 3.1.1 §4.3.3: the message goes on when it comes, and its packet
identifier is remembered until the PUBREL. In a session that outlives its connection both
commit in one transaction before the PUBREC, and the identifier's removal commits before the
PUBCOMP; so between any two of the four packets either side may die.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from lyredb.errors import LyreError
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.acks import AckQueue, Pending
from lyredb.protocols.mqtt.packets import V5, Release
from lyredb.protocols.mqtt.reasons import Reason, protocol_error
from lyredb.sessions.inbound import Inbound
from lyredb.storage.apply import Rows


class Owner(Protocol):
    """The connection, as the handshake needs it."""

    @property
    def is_open(self) -> bool:
        """True while answers can be sent."""

    def answers_ready(self) -> None:
        """Acknowledgements are ready outside of a read."""

    def fail(self, error: Exception) -> None:
        """End the connection because of an error that another try may not meet."""


class ExactlyOnce:
    """The handshakes of one connection.

    Attributes:
        ids: Of messages that were received and not released.
        receiving: Of messages that wait for their commit, with who else asked for it.

    Args:
        owner: The connection.
        inbound: What its session remembers.
        acks: Where answers go.
        version: Of the protocol.
    """

    __slots__ = ("_acks", "_inbound", "_owner", "_version", "ids", "receiving")

    def __init__(self, owner: Owner, inbound: Inbound, acks: AckQueue, version: int) -> None:
        self._owner = owner
        self._inbound = inbound
        self._acks = acks
        self._version = version
        self.ids = inbound.ids
        self.receiving: dict[int, list[Pending]] = {}

    @property
    def is_durable(self) -> bool:
        """True when every message of QoS 2 has to commit, together with its identifier."""
        return self._inbound.is_durable

    @property
    def outstanding(self) -> int:
        """Messages whose place in the client's quota their identifier holds."""
        return len(self.ids)

    def is_known(self, packet_id: int) -> bool:
        """Tell whether a message with this identifier came before and was not released."""
        return packet_id in self.ids or packet_id in self.receiving

    def repeat(self, packet_id: int) -> None:
        """Answer a known message that came again [MQTT-4.3.3-10]."""
        waiting = self.receiving.get(packet_id)
        if waiting is None:
            self._acks.add(encode.pubrec(packet_id), 0)
        else:
            waiting.append(self._acks.reserve(0, packet_id, 2))

    def expect(self, packet_ids: Sequence[int]) -> Rows:
        """Note messages that are about to commit; return what has to commit with them."""
        for packet_id in packet_ids:
            self.receiving.setdefault(packet_id, [])
        return self._inbound.rows(received=packet_ids)

    def settle(self, packet_ids: Iterable[int], *, is_received: bool) -> list[Pending]:
        """Note how that ended; return who else waits for the same answers."""
        repeated: list[Pending] = []
        for packet_id in packet_ids:
            repeated += self.receiving.pop(packet_id)
            if is_received:
                self.ids.add(packet_id)
        return repeated

    def take_releases(self, data: bytes, position: int) -> int:
        """Take the plain PUBRELs of known messages that begin at ``position``.

        They come in long runs. Returns where the first byte stands that is none of theirs.
        """
        ids, last, start = self.ids, len(data) - 4, position
        released: list[int] = []
        while position <= last and data[position] == 0x62 and data[position + 1] == 2:
            packet_id = data[position + 2] << 8 | data[position + 3]
            if packet_id not in ids:
                break
            ids.remove(packet_id)
            released.append(packet_id)
            position += 4
        if released:
            frames = bytearray(b"\x70\x02\x00\x00") * len(released)
            frames[2::4] = data[start + 2 : position : 4]
            frames[3::4] = data[start + 3 : position : 4]
            self._complete(released, frames)
        return position

    def handle_pubrel(self, packet: Release) -> None:
        """PUBREL (§3.6): forget the identifier, then say so.

        Raises:
            Violation: 0x82 when the client has had no PUBREC for it yet [MQTT-4.3.3-4].
        """
        packet_id = packet.packet_id
        if packet_id in self.receiving:
            raise protocol_error("A PUBREL came before the PUBREC of its message was sent")
        if packet_id in self.ids:
            self.ids.remove(packet_id)
            self._complete((packet_id,), encode.pubcomp(packet_id))
            return
        # Sent again, as a PUBCOMP was lost; 3.1.1 has no other word than success.
        unknown = Reason.PACKET_IDENTIFIER_NOT_FOUND if self._version == V5 else Reason.SUCCESS
        self._acks.add(encode.pubcomp(packet_id, unknown), 0)

    def _complete(self, released: Sequence[int], frames: bytes | bytearray) -> None:
        count = len(released)
        if not self._inbound.is_durable:
            self._acks.add(frames, count)
            return
        pending = self._acks.reserve(count)
        rows = self._inbound.rows(released=released)
        self._inbound.commit(rows, partial(self._end_release, pending, frames))

    def _end_release(
        self, pending: Pending, frames: bytes | bytearray, error: LyreError | None
    ) -> None:
        if not self._owner.is_open:
            return
        if error is not None:
            # It is still remembered on disk: the client sends the PUBREL again.
            self._owner.fail(error)
            return
        self._acks.decide(pending, frames)
        self._owner.answers_ready()
