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

from bench.load.wire import Wire

FIRST_NUMBER = 10_000_000
"""Numbers start here: all have eight digits, and JSON allows no leading zero."""
MAX_CYCLE = 60_000
"""Packet identifiers have 16 bits, and each message under way has its own."""
LONG_CYCLE_IDS = 40_000
"""They repeat after so many in a cycle that is longer, which has to be a multiple of it."""


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
        wire: How they stand on the wire.
    """

    topics: Sequence[str]
    burst: int
    cycle: int
    wire: Wire
    qos: int
    retain: bool
    payload_bytes: int

    def __post_init__(self) -> None:
        is_long = self.cycle > MAX_CYCLE and self.cycle % LONG_CYCLE_IDS
        if self.cycle % self.burst or self.cycle % len(self.topics) or is_long:
            raise ValueError(f"a cycle of {self.cycle} does not fit bursts and topics")
        if len({len(topic.encode()) for topic in self.topics}) != 1:
            raise ValueError("topics must be equally long, or frames differ in size")

    @property
    def ids(self) -> int:
        """How many packet identifiers there are before they repeat."""
        return self.cycle if self.cycle <= MAX_CYCLE else LONG_CYCLE_IDS

    def topic(self, place: int) -> str:
        """Return the topic of message ``place`` of the cycle."""
        return self.topics[place % len(self.topics)]

    def is_ours(self, topic: str, payload: bytes) -> bool:
        """Tell whether a message names a place of the cycle and came on its topic."""
        place = place_of(payload)
        return 0 <= place < self.cycle and self.topic(place) == topic

    def everything(self) -> range:
        """Return the places of all messages."""
        return range(self.cycle)

    def places_of(self, number: int) -> range:
        """Return the places of the messages on ``topics[number]``."""
        return range(number, self.cycle, len(self.topics))

    def bursts(self) -> list[bytes]:
        """Return the cycle as sent, one element a burst."""
        frames = [
            self.wire.publish(
                self.topic(place),
                self.payload(place),
                qos=self.qos,
                retain=self.retain,
                number=place % self.ids + 1,
            )
            for place in range(self.cycle)
        ]
        return [
            b"".join(frames[start : start + self.burst])
            for start in range(0, self.cycle, self.burst)
        ]

    def delivered(self, qos: int, places: range) -> bytes:
        """Return these messages as a subscriber with this QoS gets them."""
        granted = min(qos, self.qos)
        return b"".join(
            self.wire.delivered(self.topic(place), self.payload(place), qos=granted)
            for place in places
        )

    def payload(self, place: int) -> bytes:
        """Return the payload of message ``place`` of the cycle."""
        return payload_of(place, self.payload_bytes)

    def id_at(self) -> int:
        """Return where in a frame with an identifier, as a subscriber gets it, that is."""
        return self.wire.id_at(self.topic(0), self.payload(0))

    def acknowledged(self) -> bytes:
        """Return the acknowledgements of all packet identifiers in order."""
        return b"".join(self.wire.accepted(place + 1) for place in range(self.ids))
