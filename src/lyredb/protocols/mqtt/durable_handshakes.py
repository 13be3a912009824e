"""The handshakes of what was sent to a client whose session lasts, to their end.

The session keeps what is above QoS 0 (`lyredb.sessions.outbound`), but for what somebody else
has. A PUBREL leaves when the PUBREC is on disk, so that after a crash the same identifier
stands for the same message [MQTT-4.4.0-1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from lyredb.errors import LyreError
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.exact import FAILURES, NOT_FOUND, Exact, Step
from lyredb.protocols.mqtt.numbering import plain_answers
from lyredb.protocols.mqtt.outbox import Wire
from lyredb.sessions.outbound import Outbound


class DurableHandshakes:
    """Packet identifiers in flight to one client.

    Args:
        wire: The transport.
        outbound: The session's messages.
        window: So many in flight at most.
        has_reasons: The client's version has reason codes.
        fail: Ends the connection.
    """

    __slots__ = (
        "_exact",
        "_fail",
        "_has_reasons",
        "_in_flight",
        "_is_closed",
        "_next_id",
        "_outbound",
        "_releasing",
        "_window",
        "_wire",
    )

    def __init__(
        self,
        wire: Wire,
        outbound: Outbound,
        *,
        window: int,
        has_reasons: bool,
        fail: Callable[[Exception], None],
    ) -> None:
        self._wire = wire
        self._outbound = outbound
        self._window = window
        self._has_reasons = has_reasons
        self._fail = fail
        self._in_flight: dict[int, bool] = {}  # packet identifier: the session keeps it
        self._exact = Exact()
        self._releasing: set[int] = set()
        self._next_id = 1
        self._is_closed = False

    def write_to(self, wire: Wire) -> None:
        """Answer there from now on."""
        self._wire = wire

    def __len__(self) -> int:
        return len(self._in_flight)

    @property
    def has_room(self) -> bool:
        """Whether the window lets another message leave."""
        return len(self._in_flight) < self._window

    # --- what is sent

    def begin(
        self, qos: int, *, is_kept: bool, settled: Callable[[bool], None] | None = None
    ) -> int:
        """Return a free packet identifier for a message that is sent.

        Args:
            qos: 1 or 2.
            is_kept: The session keeps the message.
            settled: Told of its end.
        """
        number = self._next_id
        kept = self._outbound.in_flight
        while number in self._in_flight or number in kept:
            number = number + 1 if number < 65_535 else 1
        self._next_id = number + 1 if number < 65_535 else 1
        self._go_on(number, qos, is_kept=is_kept)
        if settled is not None:
            self._exact.settled[number] = settled
        return number

    def go_on(self, packet_id: int, qos: int) -> None:
        """Note that a message of the session is sent again, with its identifier of before."""
        self._go_on(packet_id, qos, is_kept=True)

    def _go_on(self, packet_id: int, qos: int, *, is_kept: bool) -> None:
        self._in_flight[packet_id] = is_kept
        if qos == 2:
            self._exact.sent.add(packet_id)

    def release_again(self, packet_id: int) -> bytes:
        """Note that the client has a message of before; returns its PUBREL."""
        self._in_flight[packet_id] = True
        self._exact.released.add(packet_id)
        return encode.pubrel(packet_id)

    def take_back(self, packet_id: int) -> None:
        """Note that a message has not left, if the session can still forget it."""
        if self._outbound.take_back(packet_id):
            self._exact.sent.discard(packet_id)

    def refuse(self, packet_id: int) -> None:
        """Note that a message must not leave; the session has forgotten it."""
        self._in_flight.pop(packet_id, None)
        self._exact.sent.discard(packet_id)
        settled = self._exact.settled.pop(packet_id, None)
        if settled is not None:
            settled(False)

    # --- what the client says

    def take_replies(self, data: bytes, position: int) -> int:
        """Take the plain PUBACKs, PUBRECs or PUBCOMPs at ``position``; they come in long runs.

        Returns where the first byte stands that is none of theirs.
        """
        first = data[position]
        packet_ids, position = plain_answers(data, position, first)
        if first == 0x50:
            self._receive(packet_ids)
        else:
            end = self.acknowledge if first == 0x40 else self.complete
            for packet_id in packet_ids:
                end(packet_id)
        return position

    def acknowledge(self, packet_id: int) -> bool:
        """Take a PUBACK; False when nothing with this identifier is in flight."""
        if packet_id not in self._in_flight or not self._exact.takes_puback(packet_id):
            return False
        if self._in_flight.pop(packet_id):
            self._outbound.acknowledge(packet_id)
        self._exact.settle(packet_id)
        return True

    def receive(self, packet_id: int, reason: int) -> None:
        """Take a PUBREC, and answer it where it has an answer."""
        if reason < FAILURES:
            self._receive([packet_id])
        elif self._exact.receive(packet_id, reason) is Step.DONE:
            self._end_exact(packet_id)

    def complete(self, packet_id: int) -> None:
        """Take a PUBCOMP; one before its PUBREL means nothing."""
        if packet_id not in self._releasing and self._exact.complete(packet_id):
            self._end_exact(packet_id)

    def _end_exact(self, packet_id: int) -> None:
        if self._in_flight.pop(packet_id):
            self._outbound.completed(packet_id)
        self._exact.settle(packet_id)

    def _receive(self, packet_ids: Iterable[int]) -> None:
        """Take PUBRECs; those of messages that the session keeps are answered after a commit."""
        release: list[int] = []
        commit: list[int] = []
        unknown = b""
        for packet_id in packet_ids:
            is_first = packet_id in self._exact.sent
            if self._exact.receive(packet_id, 0) is Step.UNKNOWN:
                unknown += encode.pubrel(packet_id, NOT_FOUND if self._has_reasons else 0)
            elif is_first and self._in_flight[packet_id]:
                self._outbound.received(packet_id)
                self._releasing.add(packet_id)
                commit.append(packet_id)
            elif packet_id not in self._releasing:
                release.append(packet_id)
        if commit:
            self._outbound.commit(partial(self._release_committed, commit))
        if release or unknown:
            self._wire.write(unknown + b"".join(map(encode.pubrel, release)))

    def _release_committed(self, packet_ids: list[int], error: LyreError | None) -> None:
        if self._is_closed:
            return
        if error is not None:
            self._fail(error)
            return
        self._releasing.difference_update(packet_ids)
        self._wire.write(b"".join(map(encode.pubrel, packet_ids)))

    # --- the end

    def stop(self) -> None:
        """Answer nothing from now on."""
        self._is_closed = True

    def close(self) -> None:
        """Tell who waits for an end that there is none."""
        self._is_closed = True
        self._exact.give_up()
