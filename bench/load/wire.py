"""How a message stands on the wire: MQTT and NATS, behind one small seam.

The driver, the flow and the checks know messages; what a frame looks like, how a client
logs in and what a careful reader makes of a stream is the matter of a `Wire`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from bench.load import packets
from bench.load.frames import BadFrame, FrameReader, read_publish
from bench.load.spec import Target

REFUSED = 0x80
"""MQTT 5 reason codes from here on are errors (§2.4)."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message that came; ``answer`` is what it has to be acknowledged with."""

    topic: str
    payload: bytes
    answer: bytes = b""
    about: bytes = b""


@dataclass(frozen=True, slots=True)
class Answered:
    """A message was answered; ``packet_id`` is MQTT's."""

    packet_id: int
    is_accepted: bool


@dataclass(frozen=True, slots=True)
class Other:
    """Something else, which a correct server does not send; ``answer`` for what it may."""

    what: str
    answer: bytes = b""


Event = Delivered | Answered | Other


class Reader(Protocol):
    """Cuts a stream into events, whatever the borders of the reads."""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Return what is complete now.

        Raises:
            BadFrame: The stream is not what such a server sends.
        """


class Wire(Protocol):
    """A protocol as the load speaks it."""

    @property
    def interruption(self) -> bytes:
        """A frame that a server may put between messages at any time, or empty."""

    @property
    def reply(self) -> bytes:
        """Its answer."""

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, number: int) -> bytes:
        """Return a message as it is sent; ``number`` is its packet identifier."""

    def delivered(self, topic: str, payload: bytes, *, qos: int) -> bytes:
        """Return it as a subscriber gets it, packet identifier 0."""

    def accepted(self, number: int) -> bytes:
        """Return the acknowledgement that the publisher gets, empty when it is not known."""

    def id_at(self, topic: str, payload: bytes) -> int:
        """Return where in a delivered QoS 1 or 2 frame the packet identifier is."""

    def about(self, payload: bytes) -> bytes:
        """Return what a message has to say beside its payload, empty for nothing."""

    def reader(self) -> Reader:
        """Return a careful reader."""


@dataclass(frozen=True, slots=True)
class MqttWire:
    """MQTT 3.1.1 (4) or 5; with ``is_traced`` each message has two user properties.

    One of them is the same for all, the other one of its own: a trace identifier.
    """

    level: int
    is_traced: bool = False
    interruption: bytes = b""
    reply: bytes = b""

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, number: int) -> bytes:
        return packets.publish(
            topic,
            payload,
            level=self.level,
            qos=qos,
            retain=retain,
            packet_id=number,
            about=self._properties(payload),
        )

    def delivered(self, topic: str, payload: bytes, *, qos: int) -> bytes:
        about = self._properties(payload)
        return packets.publish(topic, payload, level=self.level, qos=qos, about=about)

    def about(self, payload: bytes) -> bytes:
        return self._properties(payload)[1:]  # they are shorter than 128 bytes

    def _properties(self, payload: bytes) -> bytes:
        if not self.is_traced:
            return b""
        trace = hashlib.md5(payload, usedforsecurity=False).hexdigest()
        pairs = (("unit", "celsius"), ("traceparent", f"00-{trace}-{trace[:16]}-01"))
        return packets.user_properties(pairs)

    def accepted(self, number: int) -> bytes:
        return packets.puback(number)

    def id_at(self, topic: str, payload: bytes) -> int:
        # The packet identifier follows the topic, and is the server's to choose.
        about = self._properties(payload) or packets.properties(self.level)
        return len(self.delivered(topic, payload, qos=1)) - len(payload) - len(about) - 2

    def reader(self) -> Reader:
        return _MqttReader(self.level)


class _MqttReader:
    def __init__(self, level: int) -> None:
        self._level = level
        self._frames = FrameReader()

    def feed(self, data: bytes) -> Iterator[Event]:
        for frame in self._frames.feed(data):
            if frame.type == packets.PUBLISH:
                message = read_publish(frame, self._level)
                answer = packets.puback(message.packet_id) if frame.qos else b""
                yield Delivered(message.topic, message.payload, answer, message.about)
            elif frame.type == packets.PUBACK:
                number = int.from_bytes(frame.body[:2], "big")
                yield Answered(number, is_accepted=not _is_refusal(frame.body))
            else:
                yield Other(f"packet {frame.type}")


def _is_refusal(body: bytes) -> bool:
    return len(body) > 2 and body[2] >= REFUSED


class NatsWire:
    """NATS's text protocol; topics become subjects (``/`` is ``.``)."""

    interruption = b"PING\r\n"
    reply = b"PONG\r\n"

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool, number: int) -> bytes:
        # At QoS 1 JetStream stores it and answers to the inbox with its sequence number.
        inbox = b"%b " % INBOX if qos else b""
        return b"PUB %b %b%d\r\n%b\r\n" % (subject(topic), inbox, len(payload), payload)

    def delivered(self, topic: str, payload: bytes, *, qos: int) -> bytes:
        return b"MSG %b 1 %d\r\n%b\r\n" % (subject(topic), len(payload), payload)

    def accepted(self, number: int) -> bytes:
        return b""

    def about(self, payload: bytes) -> bytes:
        return b""

    def id_at(self, topic: str, payload: bytes) -> int:
        raise NotImplementedError("NATS delivers without packet identifiers")

    def reader(self) -> Reader:
        return NatsReader()


INBOX = b"_INBOX.bench"
MAX_LINE_BYTES = 4096


def subject(topic: str) -> bytes:
    """Return the subject of a topic, or of a filter with ``#`` and ``+``."""
    return topic.replace("/", ".").replace("#", ">").replace("+", "*").encode()


class NatsReader:
    """Cuts NATS's stream: lines, and after ``MSG`` a payload of the length that it says."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        self._pending += data
        start = 0
        while (end := self._pending.find(b"\r\n", start)) >= 0:
            words = self._pending[start:end].split(b" ")
            if words[0] != b"MSG":
                yield _said(words)
                start = end + 2
                continue
            size = int(words[-1])
            if len(self._pending) < end + 4 + size:
                break
            payload = self._pending[end + 2 : end + 2 + size]
            yield Delivered(words[1].decode().replace(".", "/"), payload)
            start = end + 4 + size
        self._pending = self._pending[start:]
        if len(self._pending) > MAX_LINE_BYTES and b"\r\n" not in self._pending:
            raise BadFrame("a line without an end")


def _said(words: list[bytes]) -> Other:
    what = b" ".join(words).decode(errors="replace")
    return Other(what, NatsWire.reply if words == [b"PING"] else b"")


def wire_of(target: Target, level: int, *, is_traced: bool = False) -> Wire:
    """Return what a target speaks."""
    return NatsWire() if target.protocol == "nats" else MqttWire(level, is_traced)
