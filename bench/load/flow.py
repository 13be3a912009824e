"""The messages of a run, built before it: bursts to send, and the bytes to expect.

Messages repeat in a cycle of a few bursts. Each carries its place in the cycle as a
number in the payload, and all frames have the same size, so that a subscriber can be
checked completely by comparing bytes. The load keeps fewer messages in flight than a
cycle has, so equal numbers of two cycles cannot be taken for each other.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench.load import packets

FIRST_NUMBER = 10_000_000
"""Numbers start here: all have eight digits, and JSON allows no leading zero."""
MAX_CYCLE = 60_000
"""Packet identifiers have 16 bits, and each message of a cycle has its own."""


def payload_of(place: int, size: int) -> bytes:
    """A JSON object of ``size`` bytes with the number of this place in the cycle."""
    start = b'{"seq":%d,"text":"' % (FIRST_NUMBER + place)
    return start + b"x" * (size - len(start) - 2) + b'"}'


def place_of(payload: bytes) -> int:
    """Return the place in the cycle that a payload names, or -1 if it is not ours."""
    try:
        record = json.loads(payload)
        return int(record["seq"]) - FIRST_NUMBER
    except (ValueError, KeyError, TypeError):
        return -1


@dataclass(frozen=True, slots=True)
class Flow:
    """What is published in a cycle.

    Attributes:
        topics: Message i of the cycle goes to ``topics[i % len(topics)]``.
        burst: Messages sent at once.
        cycle: Messages in the cycle: a multiple of ``burst`` and of the topics.
        level: MQTT 4 (3.1.1) or 5.
    """

    topics: Sequence[str]
    burst: int
    cycle: int
    level: int
    qos: int
    retain: bool
    payload_bytes: int

    def __post_init__(self) -> None:
        if self.cycle % self.burst or self.cycle % len(self.topics) or self.cycle > MAX_CYCLE:
            raise ValueError(f"a cycle of {self.cycle} does not fit bursts and topics")
        if len({len(topic.encode()) for topic in self.topics}) != 1:
            raise ValueError("topics must be equally long, or frames differ in size")

    def topic(self, place: int) -> str:
        """Return the topic of message ``place`` of the cycle."""
        return self.topics[place % len(self.topics)]

    def bursts(self) -> list[bytes]:
        """Return the cycle as sent, one element a burst."""
        frames = [
            self._frame(place, qos=self.qos, retain=self.retain, packet_id=place + 1)
            for place in range(self.cycle)
        ]
        return [
            b"".join(frames[start : start + self.burst])
            for start in range(0, self.cycle, self.burst)
        ]

    def delivered(self, qos: int) -> bytes:
        """Return the cycle as a subscriber with this QoS gets it, packet identifiers 0."""
        granted = min(qos, self.qos)
        return b"".join(
            self._frame(place, qos=granted, retain=False, packet_id=0)
            for place in range(self.cycle)
        )

    def acknowledged(self) -> bytes:
        """Return the PUBACKs of a cycle in order."""
        return b"".join(packets.puback(place + 1) for place in range(self.cycle))

    def _frame(self, place: int, *, qos: int, retain: bool, packet_id: int) -> bytes:
        return packets.publish(
            self.topic(place),
            payload_of(place, self.payload_bytes),
            level=self.level,
            qos=qos,
            retain=retain,
            packet_id=packet_id,
        )
