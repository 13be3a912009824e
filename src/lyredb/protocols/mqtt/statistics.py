"""What the MQTT listener counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MqttStatistics:
    """A snapshot of the counters.

    Attributes:
        connections: Open connections, those without a CONNECT included.
        clients: Connected clients.
        durable: Of these, those whose session outlives the connection.
        subscriptions: Of connected clients.
        accepted: CONNECTs accepted so far.
        refused_connects: CONNECTs refused so far.
        received: Messages published by clients so far.
        refused: Of these, messages that were refused.
        sent: Messages handed to clients' transports so far.
        dropped: Messages that slow or small clients missed so far.
        received_bytes: Read from clients so far.
        sent_bytes: Written to clients so far.
        published_bytes: Of these, those of messages.
        violations: Connections that were ended by a malformed or forbidden packet.
        takeovers: Connections that were ended by another one with their client id.
        writing: Commits that clients' messages wait for; several of a read share one.
        buffered_bytes: What waits for clients that read slowly.
        cut_off: Connections that were ended because too much waited in all.
    """

    connections: int
    clients: int
    durable: int
    subscriptions: int
    accepted: int
    refused_connects: int
    received: int
    refused: int
    sent: int
    dropped: int
    received_bytes: int
    sent_bytes: int
    published_bytes: int
    violations: int
    takeovers: int
    writing: int
    buffered_bytes: int
    cut_off: int


class Counters:
    """The running counters; plain integers, as the hot loop adds to them."""

    __slots__ = (
        "accepted",
        "dropped",
        "published_bytes",
        "received",
        "received_bytes",
        "refused",
        "refused_connects",
        "sent",
        "sent_bytes",
        "takeovers",
        "violations",
    )

    def __init__(self) -> None:
        self.accepted = 0
        self.dropped = 0
        self.published_bytes = 0
        self.received = 0
        self.received_bytes = 0
        self.refused = 0
        self.refused_connects = 0
        self.sent = 0
        self.sent_bytes = 0
        self.takeovers = 0
        self.violations = 0


class Tally:
    """What the connections of this moment count themselves, added up when somebody asks."""

    __slots__ = ("dropped", "durable", "published_bytes", "sent", "subscriptions")

    def __init__(self) -> None:
        self.dropped = 0
        self.durable = 0
        self.published_bytes = 0
        self.sent = 0
        self.subscriptions = 0
