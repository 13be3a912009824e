"""MQTT 5 clients whose sessions last, and which keep what the standard has them keep.

Each packet is taken in two steps, so that a test can stop a client between them: `take` is
what the client remembers, and what it owes the server for it is sent by `pay`. After a lost
connection `connect` brings the session on: unfinished handshakes go on where they were.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.e2e.raw_mqtt import RawMqtt
from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.e2e.worker_clients import TRIES, worker_in
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received

PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, PINGRESP, DISCONNECT = 3, 4, 5, 6, 7, 9, 13, 14
FOREVER = b"\x11\xff\xff\xff\xff"
"""Session Expiry Interval: the session never ends by itself."""
NO_SUBSCRIBERS, BUSY, SHUTTING_DOWN, NOT_FOUND, QUOTA_EXCEEDED = 0x10, 0x89, 0x8B, 0x92, 0x97
DEADLINE_S = 40.0
"""For an answer: it may have to wait for a process that is started anew on a loaded machine."""


class Durable:
    """A client with a session that has to be there whenever it comes back.

    Attributes:
        client_id: Its name.
        connection: The present connection; before `connect` there is none.
        worker: The worker that serves it.
    """

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.worker = 0
        self.connection: RawMqtt
        self._has_session = False
        self._owed: list[bytes] = []

    def connect(self, current: Callable[[], ServerProcess], worker: int = 0) -> None:
        """Connect, to a certain worker if told so, and go on with what is unfinished.

        Tried again while a process that it takes is being started.

        Args:
            current: Returns the server of this moment.
            worker: Its number, 0 for any.
        """
        deadline = time.monotonic() + DEADLINE_S
        server, tries = current(), 0
        while tries < TRIES:
            before, server = server, current()
            if server is not before:
                deadline = time.monotonic() + DEADLINE_S
            try:
                found = self._is_in(server)
            except (EOFError, ConnectionError):
                found = False
            if found and worker in (0, self.worker):
                self._owed.clear()
                self.connection.send(b"".join(self._unfinished()))
                return
            if found:
                tries += 1
                self.leave()
            else:
                assert time.monotonic() < deadline, f"{self.client_id} is not let in"
                time.sleep(0.02)
        raise AssertionError(f"worker {worker} was not reached in {TRIES} tries")

    def _is_in(self, server: ServerProcess) -> bool:
        self.connection = RawMqtt(server, 5, deadline_s=DEADLINE_S)
        try:
            self.connection.send(
                frames.connect(
                    5,
                    self.client_id,
                    clean=False,
                    username=USER,
                    password=PASSWORD.encode(),
                    props=FOREVER,
                )
            )
            connack = self._next("CONNACK")
        except BaseException:
            self.connection.close()
            raise
        if connack.reason:
            self.connection.close()
            return False
        is_present = bool(connack.body[0] & 1)
        assert is_present or not self._has_session, f"the session of {self.client_id} is lost"
        self._has_session = True
        self.worker = worker_in(connack)
        return True

    def _next(self, wanted: str) -> Received:
        """The next packet. TimeoutError: it says who waits, for what, and what is under way."""
        try:
            return self.connection.next()
        except TimeoutError:
            text = f"{self.client_id} at worker {self.worker} waits for {wanted}; {self.state()}"
            raise TimeoutError(text) from None

    def state(self) -> str:
        """What is under way, to be read in a report."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """End the connection without a word, if there was one."""
        if hasattr(self, "connection"):
            self.connection.close()

    def leave(self) -> None:
        """Disconnect in order; the session stays."""
        self.connection.send(frames.disconnect(0))
        self.connection.close()

    def take_next(self) -> None:
        """Take one packet; what is owed for it is not sent yet."""
        packet = self._next("any packet")
        if packet.kind == DISCONNECT:
            assert packet.reason in (BUSY, SHUTTING_DOWN), packet
            raise EOFError("the server ends the connection in order")
        if answer := self.take(packet):
            self._owed.append(answer)

    def pay(self) -> None:
        """Send what is owed."""
        if self._owed:
            self.connection.send(b"".join(self._owed))
            self._owed.clear()

    def work(self, is_done: Callable[[], bool]) -> None:
        """Go on with all handshakes until something holds. EOFError: connect again."""
        self.pay()
        while not is_done():
            self.take_next()
            self.pay()

    def take(self, packet: Received) -> bytes:
        """Remember what a packet means; return the answer, or nothing."""
        raise NotImplementedError

    def _unfinished(self) -> list[bytes]:
        """What a session sends first on a new connection (MQTT 5 section 4.4)."""
        raise NotImplementedError


@dataclass
class Sending:
    """A message that was sent and whose handshake has not ended."""

    payload: bytes
    is_received: bool = False


class Publisher(Durable):
    """Publishes to one topic; what is refused as too much is published again.

    Attributes:
        acknowledged: What the server has taken: PUBACK or PUBREC.
        refused: What was refused at least once; its order is nobody's promise.
        open: Unfinished handshakes by packet identifier, in the order of their PUBLISH.
    """

    def __init__(self, client_id: str, topic: str, qos: int) -> None:
        super().__init__(client_id)
        self.acknowledged: list[bytes] = []
        self.refused: set[bytes] = set()
        self.open: dict[int, Sending] = {}
        self._topic = topic
        self._qos = qos
        self._last_id = 0

    def state(self) -> str:
        return f"open are {self.open}"

    def publish(self, *payloads: bytes) -> None:
        """Send messages at once."""
        for payload in payloads:
            self._last_id = self._last_id % 0xFFFF + 1
            self.open[self._last_id] = Sending(payload)
            self._owed.append(self._publish(self._last_id, payload))
        self.pay()

    def finish(self) -> None:
        """Work until every handshake has ended."""
        self.work(lambda: not self.open)

    def _publish(self, packet_id: int, payload: bytes, *, dup: bool = False) -> bytes:
        return frames.publish(
            self._topic, payload, version=5, qos=self._qos, packet_id=packet_id, dup=dup
        )

    def take(self, packet: Received) -> bytes:
        assert packet.kind == (PUBACK if self._qos == 1 else packet.kind), packet
        sending = self.open[packet.packet_id]
        if packet.kind == PUBCOMP:
            assert packet.reason in (0, NOT_FOUND), packet
            assert sending.is_received, "PUBCOMP before PUBREC"
            del self.open[packet.packet_id]
            return b""
        assert packet.kind in (PUBACK, PUBREC), packet
        if packet.reason == QUOTA_EXCEEDED:
            return self._again(packet.packet_id)
        assert packet.reason in (0, NO_SUBSCRIBERS), packet
        if not sending.is_received:
            self.acknowledged.append(sending.payload)
        sending.is_received = True
        if packet.kind == PUBREC:
            return frames.pubrel(packet.packet_id)
        del self.open[packet.packet_id]
        return b""

    def _again(self, packet_id: int) -> bytes:
        """A refused message has left nothing behind: it is a new one."""
        sending = self.open.pop(packet_id)
        assert not sending.is_received, "a message was taken, and then refused"
        self.refused.add(sending.payload)
        self._last_id = self._last_id % 0xFFFF + 1
        self.open[self._last_id] = sending
        return self._publish(self._last_id, sending.payload)

    def _unfinished(self) -> list[bytes]:
        return [
            frames.pubrel(packet_id)
            if sending.is_received
            else self._publish(packet_id, sending.payload, dup=True)
            for packet_id, sending in self.open.items()
        ]


class Reader(Durable):
    """Takes messages, each of QoS 2 once by its packet identifier, as the standard has it.

    Attributes:
        got: The payload and QoS of each message that it took, in order.
        known: Packet identifiers of QoS 2 that were not released yet.
    """

    def __init__(self, client_id: str) -> None:
        super().__init__(client_id)
        self.got: list[tuple[bytes, int]] = []
        self.known: set[int] = set()

    def state(self) -> str:
        return f"not released are {sorted(self.known)}, {len(self.got)} were taken"

    def subscribe(self, *filters: tuple[str, int]) -> None:
        """Subscribe, on a connection where nothing is under way."""
        self.connection.send(frames.subscribe(*filters, version=5))
        answer = self._next("SUBACK")
        assert (answer.kind, answer.codes) == (SUBACK, [qos for _, qos in filters]), answer

    def take(self, packet: Received) -> bytes:
        if packet.kind == PUBREL:
            self.known.discard(packet.packet_id)
            return frames.pubcomp(packet.packet_id)
        if packet.kind != PUBLISH:
            assert packet.kind == PINGRESP, packet
            return b""
        if packet.qos < 2:
            self.got.append((packet.payload, packet.qos))
            return frames.puback(packet.packet_id) if packet.qos else b""
        is_again = packet.packet_id in self.known
        assert packet.flags & 8 or not is_again, "an identifier in use names a new message"
        if not is_again:
            self.known.add(packet.packet_id)
            self.got.append((packet.payload, 2))
        return frames.pubrec(packet.packet_id)

    def _unfinished(self) -> list[bytes]:
        return []  # it is the server's turn


def problems_of(got: Sequence[tuple[bytes, int]], said: Sequence[bytes], qos: int) -> list[str]:
    """What of one publisher a reader heard wrongly: lost, twice at QoS 2, out of order.

    Args:
        got: All that the reader took of that publisher.
        said: What was acknowledged to the publisher, in the order of sending.
        qos: The quality of service of all of it.
    """
    heard = [payload for payload, quality in got if quality == qos]
    times = Counter(heard)
    firsts = list(times)
    wrong = []
    if missing := [payload for payload in said if payload not in times]:
        wrong.append(f"lost at QoS {qos}: {missing[:5]} of {len(missing)}")
    if extra := times.keys() - set(said):
        wrong.append(f"nobody was told that these were taken: {sorted(extra)[:5]}")
    if qos == 2 and len(heard) > len(firsts):
        wrong.append(f"twice: {sorted(one for one in times if times[one] > 1)[:5]}")
    if not wrong and firsts != list(said):
        pairs = enumerate(zip(firsts, said, strict=True))
        at = next(at for at, (one, other) in pairs if one != other)
        wrong.append(f"after {at}: {firsts[at : at + 3]} instead of {list(said[at : at + 3])}")
    return wrong
