"""Packet identifiers in flight that end otherwise than by a PUBACK that nobody waits for.

A message of QoS 2 goes PUBLISH, PUBREC, PUBREL, PUBCOMP; its identifier is free after the
last one, or after a PUBREC that says no (MQTT 5 §4.3.3). No I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from lyredb.protocols.mqtt.reasons import Reason

FAILURES = 0x80
"""Reason codes from here on say no."""


class Step(Enum):
    """What a PUBREC leads to."""

    RELEASE = auto()
    """A PUBREL with success."""
    DONE = auto()
    """Nothing: the reader does not want the message, and its identifier is free."""
    UNKNOWN = auto()
    """A PUBREL that says so: there is no such identifier."""


class Exact:
    """What is known of such identifiers.

    Attributes:
        sent: Of QoS 2, without a PUBREC yet.
        released: With a PUBREC, without a PUBCOMP yet.
        settled: Who is told of the end, for those where somebody is.
    """

    __slots__ = ("released", "sent", "settled")

    def __init__(self) -> None:
        self.sent: set[int] = set()
        self.released: set[int] = set()
        self.settled: dict[int, Callable[[bool], None]] = {}

    def takes_puback(self, packet_id: int) -> bool:
        """Tell whether a PUBACK may end it: it is not of QoS 2."""
        return packet_id not in self.sent and packet_id not in self.released

    def receive(self, packet_id: int, reason: int) -> Step:
        """Take a PUBREC; one that comes again is answered again."""
        if packet_id in self.sent:
            self.sent.remove(packet_id)
            if reason >= FAILURES:
                return Step.DONE
            self.released.add(packet_id)
            return Step.RELEASE
        return Step.RELEASE if packet_id in self.released else Step.UNKNOWN

    def complete(self, packet_id: int) -> bool:
        """Take a PUBCOMP; False when it ends nothing.

        One that comes before the PUBREC, from a client that has forgotten the identifier and
        says so by 0x92, ends nothing either: it is answered to a PUBREL only.
        """
        if packet_id not in self.released:
            return False
        self.released.remove(packet_id)
        return True

    def settle(self, packet_id: int) -> None:
        """Its identifier is free: tell who waits for that."""
        settled = self.settled.pop(packet_id, None)
        if settled is not None:
            settled(True)

    def give_up(self) -> None:
        """Nothing will be answered any more.

        What was sent with QoS 2 was told once, as far as anybody knows: nobody else may get
        it [MQTT-4.8.2-5].
        """
        waiting, self.settled = self.settled, {}
        for packet_id, settled in waiting.items():
            settled(packet_id in self.sent or packet_id in self.released)


NOT_FOUND = Reason.PACKET_IDENTIFIER_NOT_FOUND
