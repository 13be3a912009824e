"""Messages beside mosquitto and nats-server: without the disk, and durable writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from bench.load.spec import Bounds, LoadResult, Shape, Target
from bench.load.start import run_load
from bench.peers.bare import bare_forwarder
from bench.peers.certificate import make_certificate
from bench.peers.lyredb import lyredb
from bench.peers.mosquitto import mosquitto
from bench.peers.nats import nats
from bench.peers.process import StartFailed
from bench.result import Comparison, Figure, Round, Side
from bench.scenarios.plan import Contender, Plan, compete, measuring

Wanted = float | tuple[float, float] | None
"""A ratio of both forms, or of the plain and of the compiled one; None wants nothing."""
OURS, COMPILED = "LyreDB", "LyreDB compiled"
BARE = "bare uvloop"
FORMS = {OURS: "plain", COMPILED: "compiled"}
TRACED = " MQTT 5 with two user properties, one of them another one in each message;"
NOT_KEPT = "nothing is stored"
KEPT = (
    "LyreDB acknowledges after fsync of record, index and log; nats-server (JetStream, one"
    " message kept per subject) after fsync of its file (`sync_interval: always`)"
)
FILL_S = 100.0
FIGURES = {"p50_ms": "p50", "p99_ms": "p99"}


@dataclass(frozen=True, slots=True)
class MessageScenario:
    """A load and what LyreDB wants to reach in it.

    Attributes:
        unit: "deliveries" or "acknowledged messages".
        wanted: By peer, in multiples of it.
        durability: What the servers promise about the disk meanwhile.
        at_least_per_cpu_s: So much work in a second of LyreDB's CPU.
        p50_at_most_ms: LyreDB's median latency.
        p99_at_most: LyreDB's p99 in multiples of the first peer's.
        tls: All connections for messages are over TLS.
        settings: Of LyreDB, as environment variables, where the defaults are too small.
        filled: Each topic is written once before anything is measured.
    """

    name: str
    unit: str
    shape: Shape
    wanted: Mapping[str, Wanted] = field(default_factory=dict)
    durability: str = NOT_KEPT
    at_least_per_cpu_s: float | None = None
    p50_at_most_ms: float | None = None
    p99_at_most: float | None = None
    tls: bool = False
    filled: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def run(self, plan: Plan) -> list[Comparison | Figure]:
        """Measure LyreDB and each peer."""
        level = 5 if self.shape.is_traced else plan.level
        shape = replace(self.shape, level=level, payload_bytes=plan.payload_bytes)
        bounds = Bounds(wall_s=plan.round_s)

        def measure(target: Target) -> Round:
            result = run_load(target, shape, bounds)
            return _round(result, acknowledged=self.unit == "acknowledged messages")

        def contender(name: str) -> Contender:
            return Contender(name, lambda: measuring(self._server(name, plan, shape), measure))

        compiled = contender(COMPILED) if plan.compiled else None
        sides = compete(plan, contender(OURS), *map(contender, self.wanted), compiled=compiled)
        conditions = self._conditions(shape)
        return [*self._comparisons(sides, conditions), *self._figures(sides, conditions)]

    def _server(self, name: str, plan: Plan, shape: Shape) -> AbstractContextManager[Target]:
        certificate = make_certificate(plan.folder) if self.tls else None
        prepare = partial(fill, shape=shape) if self.filled else None
        if name == "mosquitto":
            keeps = shape.retain or shape.durable or shape.away > 0
            return mosquitto(plan.folder, persistent=keeps, certificate=certificate)
        if name == BARE:
            return bare_forwarder()
        if name == "NATS":
            return nats(plan.folder, stores=self.shape.retain, prepare=prepare)
        return self._lyredb(plan, prepare, plan.compiled if name == COMPILED else None)

    @contextmanager
    def _lyredb(
        self, plan: Plan, prepare: Callable[[Target], None] | None, python: Path | None
    ) -> Iterator[Target]:
        certificate = make_certificate(plan.folder) if self.tls else None
        with lyredb(
            plan.folder, certificate=certificate, extra=self.settings, python=python
        ) as running:
            target = running.mqtt_tls if self.tls else running.mqtt
            if target is None:
                raise StartFailed("LyreDB does not listen for TLS")
            if prepare is not None:
                prepare(target)
            yield target

    def _comparisons(self, sides: tuple[Side, ...], conditions: str) -> list[Comparison]:
        others: list[Side | None] = [side for side in sides if side.name not in FORMS]
        return [
            self._comparison(mine, other, conditions)
            for mine in sides
            for other in others or [None]
            if mine.name in FORMS
        ]

    def _comparison(self, mine: Side, other: Side | None, conditions: str) -> Comparison:
        wanted = None if other is None else self.wanted[other.name]
        if isinstance(wanted, tuple):
            wanted = wanted[mine.name == COMPILED]
        form = FORMS[mine.name]
        return Comparison(self.name, self.unit, conditions, mine, other, wanted, form)

    def _figures(self, sides: tuple[Side, ...], conditions: str) -> list[Figure]:
        if self.at_least_per_cpu_s is not None:
            return [rate(self.name, sides, conditions, self.unit, self.at_least_per_cpu_s)]
        if not self.shape.pace_hz:
            return []
        others = [side for side in sides if side.name not in FORMS]
        limits = {"p50_ms": self.p50_at_most_ms, "p99_ms": None}
        if self.p99_at_most is not None and others:
            limits["p99_ms"] = self.p99_at_most * others[0].p99_ms
        return [
            latency(f"{self.name}, {FIGURES[name]}", name, sides, conditions, at_most)
            for name, at_most in limits.items()
        ]

    def _conditions(self, shape: Shape) -> str:
        return (
            f"{_publishers(shape)}, QoS {shape.qos}, {_topics(shape)}, {_listeners(shape)};"
            f" {_window(shape)}; payload {shape.payload_bytes} bytes;"
            f"{TRACED if shape.is_traced else ''}{' TLS;' if self.tls else ''} {self.durability}"
            + "".join(f"; LyreDB with {name}={value}" for name, value in self.settings.items())
        )


def fill(target: Target, shape: Shape) -> None:
    """Write each topic of a shape once, so that what is measured are updates.

    Raises:
        StartFailed: That failed.
    """
    burst = replace(shape, burst=500, in_flight=8, pace_hz=0)
    written = run_load(target, burst, Bounds(wall_s=FILL_S, messages=shape.topics))
    if written.failure or written.faults.total or written.sent < shape.topics:
        why = written.failure or str(written.faults) or "too slow"
        raise StartFailed(f"was not filled: {why}")


def latency(
    name: str, attribute: str, sides: tuple[Side, ...], conditions: str, at_most_ms: float | None
) -> Figure:
    """Return a latency of all sides as a figure."""
    mine, *others = sides
    found = getattr(mine, attribute) or None
    wanted = "" if not at_most_ms else f"at most {at_most_ms:.2f} ms"
    return Figure(
        name=name,
        unit="ms",
        conditions=conditions,
        subject=found,
        peers={other.name: getattr(other, attribute) for other in others},
        wanted=wanted,
        is_met=None if not at_most_ms or found is None else found <= at_most_ms,
    )


def rate(name: str, sides: tuple[Side, ...], conditions: str, unit: str, at_least: float) -> Figure:
    """Return how much all sides do in a second of their CPU as a figure."""
    mine, *others = sides
    found = mine.per_cpu_s or None
    return Figure(
        name=f"{name}, rate",
        unit=f"{unit} per CPU second",
        conditions=conditions,
        subject=found,
        peers={other.name: other.per_cpu_s for other in others},
        wanted=f"at least {at_least:,.0f}",
        is_met=None if found is None else found >= at_least,
    )


def _publishers(shape: Shape) -> str:
    durable = " with durable sessions" if shape.durable else ""
    if shape.publishers == 1:
        return f"1 publisher{durable}"
    return f"{shape.publishers:,} publishers{durable} in turn"


def _topics(shape: Shape) -> str:
    if shape.topics == 1:
        return "1 topic"
    return f"{shape.topics:,} topics{' in random order' if shape.shuffled else ''}"


def _listeners(shape: Shape) -> str:
    how = {"": f"at QoS {shape.subscriber_qos}", "sse": "by SSE", "ws": "by WebSocket"}
    several = "1 subscriber" if shape.subscribers == 1 else f"{shape.subscribers} subscribers"
    several += " with durable sessions" if shape.durable else ""
    words = f"{several} to {shape.topic_filter} {how[shape.stream]}" if shape.subscribers else ""
    own = "a subscriber of its own for each topic" if shape.own_subscribers else ""
    away = ""
    if shape.away:
        away = (
            f"{shape.away} durable session that is away, and gets and acknowledges everything"
            " after the measured time"
        )
    return " and ".join(filter(None, (own, words, away))) or "no subscriber"


def _window(shape: Shape) -> str:
    if shape.pace_hz:
        return f"{shape.pace_hz:,.0f} a second, one at a time"
    bursts = f"bursts of {shape.burst:,}" if shape.burst > 1 else "one message a send"
    return f"{bursts}, at most {shape.burst * shape.in_flight:,} messages in flight"


def _round(result: LoadResult, *, acknowledged: bool) -> Round:
    faults = str(result.faults)
    return Round(
        work=result.acknowledged if acknowledged else result.deliveries,
        wall_s=result.wall_s,
        server_cpu_s=result.server_cpu_s,
        load_cpu_s=result.load_cpu_s,
        frames_per_read=result.deliveries / result.reads if result.reads else 0.0,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        trouble=", ".join(filter(None, (faults, result.failure))),
    )


ONE = "Bench/k00000"
DELIVERIES, ACKNOWLEDGED = "deliveries", "acknowledged messages"
WRITES = Shape(topics=1_000, topic_filter="Bench/#", burst=500, in_flight=2, qos=1, subscribers=0)
WRITES = replace(WRITES, retain=True, shuffled=True)

SCENARIOS = (
    MessageScenario(
        "qos0 one to one in bursts",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=1_000),
        wanted={"mosquitto": (10, 30), "NATS": (2, 5)},
    ),
    MessageScenario(
        "qos0 fan-out to 100 in bursts",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=50, subscribers=100),
        wanted={"mosquitto": (20, 50), "NATS": (3, 6), BARE: None},
    ),
    MessageScenario(
        "qos0 fan-out to 100 in bursts, TLS",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=50, subscribers=100),
        wanted={"mosquitto": 8},
        tls=True,
    ),
    MessageScenario(
        "1,000 topics on one connection",
        DELIVERIES,
        Shape(topics=1_000, topic_filter="Bench/#", burst=1_000),
        wanted={"mosquitto": (12, 50), "NATS": None},
    ),
    MessageScenario(
        "one to one, window of 16",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=1, in_flight=16),
        wanted={"mosquitto": 1.5, "NATS": None},
    ),
    MessageScenario(
        "one message at a time to 100",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=1, subscribers=100),
        wanted={"mosquitto": 1.3, "NATS": None, BARE: None},
    ),
    MessageScenario(
        "paced single messages",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=1, pace_hz=3_000),
        wanted={"mosquitto": 0.9, "NATS": None, BARE: None},
        p99_at_most=1.5,
    ),
    MessageScenario(
        "2,000 own topics and a dashboard on #",
        DELIVERIES,
        Shape(topics=2_000, topic_filter="Bench/#", burst=200, own_subscribers=True, shuffled=True),
        wanted={"mosquitto": 1, "NATS": None},
    ),
    MessageScenario(
        "qos1 acks (no durable subscriber)",
        ACKNOWLEDGED,
        Shape(topics=1, topic_filter=ONE, burst=100, qos=1, subscribers=0),
        wanted={"mosquitto": (5, 15)},
    ),
    MessageScenario(
        "qos1 end to end",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=100, qos=1, subscriber_qos=1),
        wanted={"mosquitto": None},
    ),
    MessageScenario(
        "durable retained writes on 1,000 keys",
        ACKNOWLEDGED,
        WRITES,
        wanted={"NATS": 3},
        durability=KEPT,
        filled=True,
    ),
    MessageScenario(
        "durable retained writes on 200,000 keys",
        ACKNOWLEDGED,
        replace(WRITES, topics=200_000),
        wanted={"NATS": 1.5},
        durability=KEPT,
        filled=True,
    ),
    MessageScenario(
        "paced durable writes",
        ACKNOWLEDGED,
        replace(WRITES, burst=1, in_flight=1, pace_hz=100),
        wanted={"NATS": None},
        durability=KEPT,
        p50_at_most_ms=2.0,
        filled=True,
    ),
    MessageScenario(
        "SSE fan-out to 100 in bursts",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=50, subscribers=100, stream="sse"),
    ),
    MessageScenario(
        "WebSocket fan-out to 100 in bursts",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=50, subscribers=100, stream="ws"),
    ),
)
