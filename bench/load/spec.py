"""What a load is told and what it tells: JSON between the bench and its load process."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.load.faults import Faults


@dataclass(frozen=True, slots=True)
class Target:
    """A server to load.

    Attributes:
        pid: Its root process; CPU and memory are those of all processes below it too.
        protocol: ``mqtt`` or ``nats``; of a target for HTTP it says nothing.
        authority: A file with the certificate to trust: the port speaks TLS. Or empty.
        http_port: Where streams are subscribed to, 0 for nowhere.
    """

    port: int
    pid: int
    host: str = "127.0.0.1"
    username: str = ""
    password: str = ""
    protocol: str = "mqtt"
    authority: str = ""
    http_port: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of a load of messages, in a closed loop.

    Attributes:
        topic_filter: What the subscribers want; below ``$share/`` they share what comes.
        burst: Messages sent at once.
        in_flight: Bursts under way at most; the next goes when the oldest has arrived
            everywhere and is acknowledged.
        subscribers: Each subscribes to ``topic_filter``; 0 leaves only acknowledgements.
        own_subscribers: Beside them each topic has a subscriber of its own.
        publishers: Bursts go out by them in turn.
        durable: Publishers and subscribers have durable sessions.
        away: So many durable sessions want everything at QoS 1, and their clients are away
            until the end; then they come back, and have to get all of it.
        is_traced: Two user properties in each message, which needs level 5.
        stream: How ``subscribers`` subscribe: "" as the publisher speaks, ``sse``, ``ws``.
        retain: Retained writes; the final state of every topic is read back and compared.
        shuffled: Topics come in a random order, the same in each run.
        pace_hz: Not as fast as it goes, but so many bursts a second; latency is measured.
        level: MQTT 4 (3.1.1) or 5.
    """

    topics: int
    topic_filter: str
    burst: int
    in_flight: int = 1
    subscribers: int = 1
    own_subscribers: bool = False
    publishers: int = 1
    durable: bool = False
    away: int = 0
    is_traced: bool = False
    stream: str = ""
    qos: int = 0
    subscriber_qos: int = 0
    retain: bool = False
    shuffled: bool = False
    pace_hz: float = 0
    payload_bytes: int = 64
    level: int = 4

    @property
    def is_shared(self) -> bool:
        return self.topic_filter.startswith("$share/")

    @property
    def deliveries(self) -> int:
        """How many subscribers get each message."""
        return (1 if self.is_shared else self.subscribers) + self.own_subscribers


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a run ends.

    Attributes:
        wall_s: It is measured for so long after the warm-up.
        messages: At most so many published.
        stall_s: Without any progress for so long the run has failed.
    """

    wall_s: float
    messages: int = 50_000_000
    stall_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Hold:
    """Connections that are opened and do nothing.

    Attributes:
        connections: How many.
        prove: Each subscribes, and at the end gets one message, which proves that it lives.
        hold_s: How long they do nothing.
    """

    connections: int
    prove: bool
    hold_s: float


@dataclass(slots=True)
class LoadResult:
    """Counts between the end of the warm-up and the end of the last burst.

    Attributes:
        sent: Published since the start, warm-up included.
        messages: Published.
        deliveries: Received by all subscribers together.
        acknowledged: Acknowledgements that the publisher got.
        reads: Calls of ``recv`` by subscribers.
        server_cpu_s: CPU of all processes of the server.
        load_cpu_s: CPU of the load itself.
        p50_ms: Median latency of a paced load, from the send to the last arrival; 0 for none.
        p99_ms: The latency that one in a hundred exceeds.
        faults: Over the whole run, warm-up included.
        failure: Why the run broke off, or empty.
    """

    sent: int = 0
    messages: int = 0
    deliveries: int = 0
    acknowledged: int = 0
    reads: int = 0
    wall_s: float = 0.0
    server_cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    faults: Faults = field(default_factory=Faults)
    failure: str = ""


@dataclass(slots=True)
class HoldResult:
    """What holding connections showed.

    Attributes:
        opened: Connections that were accepted.
        alive: That were still open at the end, and got their message where one was sent.
        bytes_each: Growth of the server's memory by each, kernel buffers left out.
        opening_s: How long opening took.
        failure: Why it broke off, or empty.
    """

    opened: int = 0
    alive: int = 0
    bytes_each: float = 0.0
    opening_s: float = 0.0
    failure: str = ""
