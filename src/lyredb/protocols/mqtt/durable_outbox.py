"""What goes out to a client whose session outlives the connection.

Messages wait in the session (`lyredb.sessions.outbound`), which knows what was sent already:
what waits, or is in flight, when the client goes is told again when it comes back. So nothing
above QoS 0 is dropped; whoever has too much waiting falls behind and reads the log later.

A message of QoS 2 leaves when its packet identifier is on disk, see `durable_handshakes`. One
commit serves all that can be sent at its time; what comes later waits behind it, so order holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from lyredb.errors import LyreError
from lyredb.plugins.delivery import Batch, Message
from lyredb.protocols.mqtt.durable_handshakes import DurableHandshakes
from lyredb.protocols.mqtt.encoding import MqttEncoding
from lyredb.protocols.mqtt.grants import NOTHING, Grant, Grants
from lyredb.protocols.mqtt.loose import Loose, LooseQueue
from lyredb.protocols.mqtt.outbox import Wire
from lyredb.protocols.mqtt.packets import V5
from lyredb.protocols.mqtt.waiting import waiting
from lyredb.sessions.outbound import Outbound
from lyredb.sessions.receipts import Receipt
from lyredb.storage.session_row import InFlight

_DUP: Final = 0x08


class Owner(Protocol):
    """The connection."""

    def on_queue_full(self) -> None:
        """More waits than may."""

    def fail(self, error: Exception) -> None:
        """End the connection."""


class Again(NamedTuple):
    """What was in flight when the client went, and is sent again before anything else."""

    one: InFlight
    message: Message


class Giving(NamedTuple):
    """What a group has given: it leaves when the session has it on disk."""

    taken: Callable[[], None]
    start: int
    stop: int


class DurableOutbox:
    """Sends the messages of a session to its client.

    Attributes:
        sent_bytes: What was handed to the transport.
        sent: Messages handed to the transport.
        dropped: Messages that this client did not get: of QoS 0 while too much waited, or
            above its Maximum Packet Size.
        may_be_exact: See `openers.Outgoing`; nothing depends on it here.

    Args:
        wire: The transport.
        outbound: The session's messages.
        grants: What they are sent with.
        encoding: How they look.
        number: The session's own; its messages are its own.
        window: Messages above QoS 0 in flight at most.
        largest: Largest packet that the client takes, 0 for any.
        buffer_bytes: What may wait in the transport.
        max_queued: Messages that may wait.
        max_queued_bytes: Their bytes.
        owner: Told when that is not enough.
        now_ms: Wall clock, for messages that are void.
    """

    __slots__ = (
        "_again",
        "_buffer_bytes",
        "_encoding",
        "_giving",
        "_grants",
        "_handshakes",
        "_is_closed",
        "_is_committing",
        "_is_full",
        "_largest",
        "_loose",
        "_max_queued",
        "_max_queued_bytes",
        "_now_ms",
        "_number",
        "_outbound",
        "_owner",
        "_wire",
        "dropped",
        "may_be_exact",
        "sent",
        "sent_bytes",
    )

    def __init__(
        self,
        wire: Wire,
        outbound: Outbound,
        grants: Grants,
        *,
        encoding: MqttEncoding,
        number: int,
        window: int,
        largest: int,
        buffer_bytes: int,
        max_queued: int,
        max_queued_bytes: int,
        owner: Owner,
        now_ms: Callable[[], int],
    ) -> None:
        self.sent = 0
        self.sent_bytes = 0
        self.dropped = 0
        self.may_be_exact = False
        self._wire = wire
        self._outbound = outbound
        self._grants = grants
        self._encoding = encoding
        self._number = number
        self._largest = largest
        self._buffer_bytes = buffer_bytes
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._owner = owner
        self._now_ms = now_ms
        self._again: deque[Again] = deque()
        self._loose = LooseQueue()
        self._giving: dict[int, Giving] = {}  # until the session has it on disk
        self._handshakes = DurableHandshakes(
            wire,
            outbound,
            window=window,
            has_reasons=encoding.version == V5,
            fail=owner.fail,
        )
        self._is_committing = False
        self._is_closed = False
        self._is_full = False

    def write_to(self, wire: Wire) -> None:
        """Write there from now on: to the same client, by way of what traces it or not."""
        self._wire = wire
        self._handshakes.write_to(wire)

    # --- what comes

    def write_messages(self, messages: Sequence[Message]) -> None:
        """Take what delivery brings."""
        self._outbound.take(messages)
        self._after_taking()

    def take_read(self, topic_filter: str, messages: Sequence[Message]) -> None:
        """Take what the subscription with a filter has read: current state, or the log."""
        self._outbound.take(messages, topic_filter)
        self._after_taking()

    def write(self, batch: Batch) -> None:
        """Take frames as they are, which the session does not keep."""
        whole = waiting(batch)
        start = 0
        for end, offset in zip(whole.ends, whole.ids, strict=True):
            frame = whole.data[start:end]
            qos = frame[0] >> 1 & 3
            self._put_loose(Loose(frame, offset - start if offset else 0, qos))
            start = end
        self._after_taking()

    def tell(
        self,
        message: Message,
        qos: int,
        ids: tuple[int, ...],
        settled: Callable[[bool], None],
        taken: Callable[[], None] | None = None,
        receipt: Receipt | None = None,
    ) -> None:
        """Send one message for somebody who waits for its end; see `openers.Outgoing.tell`."""
        qos = min(qos, message.qos)
        retain = message.current
        frame, offset = self._encoding.frame(message, qos=qos, retain=retain, ids=ids)
        seq = message.seq if qos == 2 and taken is not None else 0
        self._put_loose(Loose(frame, offset, qos, settled, seq, taken, receipt))
        self._after_taking()

    def _put_loose(self, loose: Loose) -> None:
        is_large = 0 < self._largest < len(loose.frame)
        if not is_large and (loose.qos or not self._is_over):
            self._loose.put(loose)
            return
        self.dropped += 1
        if loose.settled is not None:
            loose.settled(is_large)  # [MQTT-3.1.2-25]: as if it had been sent

    def _after_taking(self) -> None:
        if self._is_closed:
            return
        self.pump()
        if self._is_over and not self._is_full:
            self._is_full = True
            self._owner.on_queue_full()

    # --- what waits

    @property
    def in_flight(self) -> int:
        """Messages above QoS 0 that were sent and are not at their end."""
        return len(self._handshakes)

    @property
    def queued(self) -> int:
        """Messages that wait."""
        return len(self._outbound) + len(self._loose) + len(self._again)

    @property
    def queued_bytes(self) -> int:
        """What those have, about: messages of the log count without their frames' heads."""
        return self._outbound.waiting_bytes + self._loose.waiting_bytes

    @property
    def is_filling(self) -> bool:
        """True while the queue is more than half full: time to slow down publishers."""
        return self.queued * 2 > self._max_queued or self.queued_bytes * 2 > self._max_queued_bytes

    @property
    def _is_over(self) -> bool:
        return self.queued >= self._max_queued or self.queued_bytes >= self._max_queued_bytes

    def pump(self) -> None:
        """Send what waits, as far as window and transport have room."""
        while not self._is_committing and (self._again or self._loose or self._outbound.head):
            if self._wire.get_write_buffer_size() > self._buffer_bytes:
                break
            out = bytearray()
            before = self.queued
            needs_commit = self._take(out)
            if needs_commit:
                self._is_committing = True
                self._outbound.commit(partial(self._write_committed, out))
            elif out:
                self._wire.write(out)
                self.sent_bytes += len(out)
            elif before == self.queued:
                break
        if self._is_full and not self.is_filling:
            self._is_full = False

    def _write_committed(self, out: bytearray, error: LyreError | None) -> None:
        if self._is_closed:
            return  # the client went meanwhile: it is in flight, and sent to whoever comes
        if error is not None:
            self._is_committing = False
            self._owner.fail(error)
            return
        giving, self._giving = self._giving, {}
        refused = self._outbound.receipts.take_refused() if giving else ()
        for packet_id in sorted(refused, key=lambda each: giving[each].start, reverse=True):
            del out[giving[packet_id].start : giving[packet_id].stop]
            self.sent -= 1
        if out:
            self._wire.write(out)
            self.sent_bytes += len(out)
        self._is_committing = False
        for packet_id, each in giving.items():
            if packet_id in refused:
                self._handshakes.refuse(packet_id)
            else:
                each.taken()
        self.pump()

    def _take(self, out: bytearray) -> bool:
        """Add frames that may leave now to ``out``; True when a commit has to come first."""
        while self._again and self._handshakes.has_room and len(out) <= self._buffer_bytes:
            self._add_again(out, self._again.popleft())
        if self._again:
            return False
        while (loose := self._loose.head) is not None and len(out) <= self._buffer_bytes:
            if loose.qos and not self._handshakes.has_room:
                break
            self._add_loose(out, self._loose.pop())
        needs_commit = bool(self._giving)
        while len(out) <= self._buffer_bytes:
            message = self._outbound.head
            if message is None:
                break
            grant = self._grant(message, self._outbound.head_filter)
            if grant is NOTHING:
                self._outbound.skip()
                continue
            qos = min(grant.qos, message.qos)
            if qos and not self._handshakes.has_room:
                break
            frame, offset = self._frame(message, qos, grant)
            if not self._may_leave(message, frame):
                self._outbound.skip()
                continue
            self.sent += 1
            if qos:
                packet_id = self._handshakes.begin(qos, is_kept=True)
                self._outbound.send(packet_id, qos)
                at = len(out)
                _add(out, frame, offset, packet_id)
                if qos == 1 and message.seq <= self._outbound.doubtful and not message.current:
                    out[at] |= _DUP  # it may have been sent before [MQTT-3.3.1-1]
                needs_commit = needs_commit or qos == 2
            else:
                self._outbound.skip()
                out += frame
        return needs_commit

    def _grant(self, message: Message, topic_filter: str = "") -> Grant:
        """Of one filter for its current state, as its client asked for that; else of all."""
        if topic_filter:
            return self._grants.of_filter(topic_filter)
        return self._grants.of(message.topic, is_own=message.session == self._number)

    def _frame(self, message: Message, qos: int, grant: Grant) -> tuple[bytes, int]:
        retain = message.current or (grant.retain_as_published and message.retain)
        return self._encoding.frame(message, qos=qos, retain=retain, ids=grant.ids)

    def _may_leave(self, message: Message, frame: bytes) -> bool:
        """Whether it is neither too large [MQTT-3.1.2-25] nor void [MQTT-3.3.2-5]."""
        if message.expires_ms and message.expires_ms <= self._now_ms():
            return False
        if 0 < self._largest < len(frame):
            self.dropped += 1
            return False
        return True

    def _add_loose(self, out: bytearray, loose: Loose) -> None:
        self.sent += 1
        if loose.qos:
            packet_id = self._handshakes.begin(
                loose.qos, is_kept=loose.seq > 0, settled=loose.settled
            )
            if loose.seq and loose.taken is not None:
                self._outbound.give(packet_id, loose.seq, loose.receipt)
                start = len(out)
                self._giving[packet_id] = Giving(loose.taken, start, start + len(loose.frame))
            _add(out, loose.frame, loose.offset, packet_id)
        else:
            out += loose.frame
            if loose.settled is not None:
                loose.settled(True)

    def _add_again(self, out: bytearray, again: Again) -> None:
        """Send it with the identifier of before, and DUP [MQTT-3.3.1-1]."""
        one, message = again
        grant = self._grants.of_shared(message.topic) if one.is_given else self._grant(message)
        frame, offset = self._frame(message, one.qos, grant)
        if 0 < self._largest < len(frame):
            self.dropped += 1
            end = self._outbound.acknowledge if one.qos == 1 else self._outbound.completed
            end(one.packet_id)
            return
        self.sent += 1
        self._handshakes.go_on(one.packet_id, one.qos)
        at = len(out)
        _add(out, frame, offset, one.packet_id)
        out[at] |= _DUP

    # --- what the client says

    def take_replies(self, data: bytes, position: int) -> int:
        """See `DurableHandshakes.take_replies`. The caller pumps."""
        return self._handshakes.take_replies(data, position)

    def acknowledge(self, packet_id: int) -> bool:
        """Take a PUBACK; False when nothing with this identifier is in flight."""
        return self._handshakes.acknowledge(packet_id)

    def receive(self, packet_id: int, reason: int) -> None:
        """Take a PUBREC, and answer it where it has an answer."""
        self._handshakes.receive(packet_id, reason)

    def complete(self, packet_id: int) -> None:
        """Take a PUBCOMP; one before its PUBREL means nothing."""
        self._handshakes.complete(packet_id)

    # --- the beginning and the end

    def begin(self) -> None:
        """Send again what was in flight when the client went, before anything else.

        [MQTT-4.4.0-1]. What was received by then has its PUBREL again at once; of the others
        as many as the window of this connection has room for.
        """
        releases = b""
        for one, message in self._outbound.resend():
            if message is None:
                releases += self._handshakes.release_again(one.packet_id)
            else:
                self._again.append(Again(one, message))
        if releases:
            self._wire.write(releases)
        self.pump()

    def stop(self) -> None:
        """Send nothing from now on: what comes waits in the session, for the next connection.

        What a group has given and was not sent yet goes to another member.
        """
        self._is_closed = True
        self._handshakes.stop()
        giving, self._giving = self._giving, {}
        for packet_id in giving:
            self._handshakes.take_back(packet_id)

    def close(self) -> None:
        """Forget what waits here; the session keeps its own."""
        self._is_closed = True
        self._again.clear()
        self.dropped += self._loose.close()
        self._handshakes.close()


def _add(out: bytearray, frame: bytes, offset: int, packet_id: int) -> None:
    at = len(out) + offset
    out += frame
    out[at : at + 2] = packet_id.to_bytes(2, "big")
