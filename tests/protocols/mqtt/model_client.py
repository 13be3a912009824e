"""The client's half of the protocol, by its own memory, which outlives connections.

It reads what has arrived when it is told to, and keeps its acknowledgements until it is told to
send them, in order [MQTT-4.6.0-2] to [MQTT-4.6.0-4].
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.broker_model import Message, Model
from tests.protocols.mqtt.client_frames import Received
from tests.protocols.mqtt.harness import Peer

PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK = 3, 4, 5, 6, 7, 9, 11
DUP = 8
IDS = range(1, 4)
"""Few, so that each is soon used again."""


@dataclass(eq=False)
class Publication:
    """A message above QoS 0 that is on its way to the broker.

    Attributes:
        is_received: Its PUBREC has come.
        is_applied: The broker has surely acted on it, though it may not have said so.
    """

    message: Message
    payload: bytes
    is_received: bool = False
    is_applied: bool = False


class ModelClient:
    """One client.

    Attributes:
        wire: What has arrived and is not read.
        held: Acknowledgements that are not sent yet: kind and packet identifier.
        publications: By packet identifier, in the order of their sending.
        window: Its Receive Maximum.
    """

    def __init__(self, name: str, version: int, model: Model) -> None:
        self.name = name
        self.version = version
        self.window = 0
        self.peer: Peer | None = None
        self.wire: deque[Received] = deque()
        self.held: deque[tuple[int, int]] = deque()
        self.publications: dict[int, Publication] = {}
        self._model = model
        self._open: dict[int, bytes] = {}  # QoS 2: received, and not released
        self._unanswered: dict[int, bytes] = {}  # QoS 1: received, and no PUBACK was sent
        self._in_flight: set[int] = set()  # of this connection: what counts for the window

    # --- connections

    def connected(self, peer: Peer, *, is_present: bool, window: int) -> None:
        """A CONNACK has come; without a session the client forgets its own, too."""
        self.peer = peer
        self.window = window
        if not is_present:
            self._open.clear()
            self._unanswered.clear()
            self.publications.clear()

    def lost(self, *, is_crash: bool = False) -> None:
        """The connection is over: nothing that was under way arrives."""
        self.peer = None
        self.wire.clear()
        self.held.clear()
        self._in_flight.clear()
        if is_crash:
            self._unanswered.clear()  # the broker may not know that it has sent those

    def resend(self) -> list[Publication]:
        """Send again what is not at its end, in order [MQTT-4.4.0-1]; returns the PUBLISHes."""
        again = []
        for packet_id, one in self.publications.items():
            if one.is_received:
                self._send(frames.pubrel(packet_id))
            else:
                again.append(one)
                self._send(self._frame(one, packet_id, dup=True))
        return again

    # --- what it sends

    def free_id(self) -> int:
        """A packet identifier that is free, 0: none."""
        return next((one for one in IDS if one not in self.publications), 0)

    def publish(self, message: Message, payload: bytes) -> Publication | None:
        """Send a message; above QoS 0 there must be a free packet identifier."""
        one = Publication(message, payload)
        packet_id = self.free_id() if message.qos else 0
        if packet_id:
            self.publications[packet_id] = one
        self._send(self._frame(one, packet_id, dup=False))
        return one if packet_id else None

    def _frame(self, one: Publication, packet_id: int, *, dup: bool) -> bytes:
        message = one.message
        return frames.publish(
            message.topic,
            one.payload,
            version=self.version,
            qos=message.qos,
            packet_id=packet_id,
            retain=message.retain,
            dup=dup,
        )

    def answer(self, count: int) -> None:
        """Send the oldest acknowledgements."""
        for _ in range(min(count, len(self.held))):
            kind, packet_id = self.held.popleft()
            match kind:
                case 4:
                    self._unanswered.pop(packet_id, None)
                    self._in_flight.discard(packet_id)
                    self._send(frames.puback(packet_id))
                case 5:
                    self._send(frames.pubrec(packet_id))
                case 6:
                    self._send(frames.pubrel(packet_id))
                case _:
                    self._in_flight.discard(packet_id)
                    self._send(frames.pubcomp(packet_id))

    def _send(self, frame: bytes) -> None:
        assert self.peer is not None
        self.peer.send(frame)

    @property
    def is_unheard(self) -> bool:
        """The broker does not read what it sends for now."""
        return self.peer is not None and self.peer.connection._intake.is_paused

    # --- what it reads

    def listen(self) -> None:
        """Have what was sent arrive; the broker may not end the connection by itself."""
        if self.peer is not None:
            self.wire += self.peer.take()
            assert not self.peer.is_closed, f"{self.name} was sent away: {list(self.wire)[-1:]}"

    def take(self, kind: int) -> Received | None:
        """Take the answer to a request, wherever it stands."""
        self.listen()
        for packet in self.wire:
            if packet.kind == kind:
                self.wire.remove(packet)
                return packet
        return None

    def read(self, count: int) -> None:
        """Act on the oldest packets."""
        self.listen()
        for _ in range(min(count, len(self.wire))):
            packet = self.wire.popleft()
            match packet.kind:
                case 3:
                    self._take_publish(packet)
                case 4 | 5 | 7:
                    self._take_reply(packet)
                case 6:
                    self._open.pop(packet.packet_id, None)
                    self.held.append((PUBCOMP, packet.packet_id))
                case _:
                    raise AssertionError(f"{self.name} did not ask for {packet}")

    def _take_publish(self, packet: Received) -> None:
        assert not (packet.flags & DUP and not packet.qos), packet  # [MQTT-3.3.1-2]
        if not packet.qos:
            self._model.arrived(self.name, packet)
            return
        packet_id = packet.packet_id
        known = self._open if packet.qos == 2 else self._unanswered
        self._check_identifier(packet)
        self._in_flight.add(packet_id)
        assert len(self._in_flight) <= self.window, f"{self.name}: more than its window"
        if packet_id not in self._open:  # at QoS 2 it has it [MQTT-4.3.3-10]
            self._model.arrived(self.name, packet)
        known[packet_id] = packet.payload
        self.held.append((PUBREC if packet.qos == 2 else PUBACK, packet_id))

    def _check_identifier(self, packet: Received) -> None:
        """One that is in use stands for the same message, which has DUP then."""
        packet_id = packet.packet_id
        assert packet_id not in self._in_flight, f"{self.name}: sent twice: {packet}"
        for used in (self._open, self._unanswered):
            if packet_id in used:
                assert packet.flags & DUP, f"{self.name}: in use: {packet}"
                # Current state is sent again as it is now.
                is_same = used[packet_id] == packet.payload or packet.retain
                assert is_same, f"{self.name}: another one: {packet}"

    def _take_reply(self, packet: Received) -> None:
        one = self.publications.get(packet.packet_id)
        assert one is not None, f"{self.name} did not send what {packet} is for"
        assert packet.reason < 0x80 or (packet.kind, packet.reason) == (PUBCOMP, 0x92), packet
        if packet.kind != PUBCOMP:
            assert packet.kind == (PUBACK if one.message.qos == 1 else PUBREC), packet
            one.message.is_taken = True
        if packet.kind == PUBREC:
            one.is_received = True
            self.held.append((PUBREL, packet.packet_id))
        else:
            del self.publications[packet.packet_id]
