"""What a load is told and what it tells: JSON between the bench and its load process."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.load.check import Faults


@dataclass(frozen=True, slots=True)
class Target:
    """A server to load.

    Attributes:
        pid: Its root process; CPU is that of all processes below it too.
    """

    port: int
    pid: int
    host: str = "127.0.0.1"
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of an MQTT load: one publisher, closed loop.

    Attributes:
        burst: Messages sent at once.
        in_flight: Bursts under way at most; the next goes when the oldest has arrived
            everywhere and is acknowledged.
        subscribers: Each subscribes to ``topic_filter``; 0 leaves only acknowledgements.
        retain: Retained writes; the final state of every topic is read back and compared.
        level: MQTT 4 (3.1.1) or 5.
    """

    topics: int
    topic_filter: str
    burst: int
    in_flight: int = 1
    subscribers: int = 1
    qos: int = 0
    subscriber_qos: int = 0
    retain: bool = False
    payload_bytes: int = 64
    level: int = 4


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a run ends.

    Attributes:
        cpu_s: Enough CPU seconds of the server, measured after the warm-up.
        wall_s: At most so long, and this is no failure.
        messages: At most so many published.
        stall_s: Without any progress for so long the run has failed.
    """

    cpu_s: float
    wall_s: float
    messages: int = 50_000_000
    stall_s: float = 10.0


@dataclass(slots=True)
class LoadResult:
    """Counts between the end of the warm-up and the end of the last burst.

    Attributes:
        messages: Published.
        deliveries: Received by all subscribers together.
        acknowledged: PUBACKs that the publisher got.
        reads: Calls of ``recv`` by subscribers.
        server_cpu_s: CPU of all processes of the server.
        load_cpu_s: CPU of the load itself.
        faults: Over the whole run, warm-up included.
        failure: Why the run broke off, or empty.
    """

    messages: int = 0
    deliveries: int = 0
    acknowledged: int = 0
    reads: int = 0
    wall_s: float = 0.0
    server_cpu_s: float = 0.0
    load_cpu_s: float = 0.0
    faults: Faults = field(default_factory=Faults)
    failure: str = ""
