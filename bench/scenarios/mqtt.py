"""MQTT beside mosquitto: messages without the disk, and durable retained writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench.load.spec import Bounds, LoadResult, Shape, Target
from bench.load.start import run_load
from bench.peers.lyredb import lyredb
from bench.peers.mosquitto import mosquitto
from bench.result import Comparison, Round
from bench.scenarios.plan import Contender, Plan, compete, measuring

NOT_KEPT = "nothing is stored"
KEPT = (
    "LyreDB acknowledges after fsync; mosquitto keeps the messages in memory, saves them"
    " every 30 minutes, and does not wait for the disk"
)


@dataclass(frozen=True, slots=True)
class MqttScenario:
    """A load and what LyreDB wants to reach in it.

    Attributes:
        unit: "deliveries" or "acknowledged messages".
        wanted: In multiples of mosquitto, or None.
        durability: What the servers promise about the disk meanwhile.
    """

    name: str
    unit: str
    shape: Shape
    wanted: float | None = None
    durability: str = NOT_KEPT

    def run(self, plan: Plan) -> Comparison:
        """Measure LyreDB and mosquitto."""
        shape = replace(self.shape, level=plan.level, payload_bytes=plan.payload_bytes)

        def measure(target: Target) -> Round:
            result = run_load(target, shape, Bounds(cpu_s=plan.cpu_s, wall_s=plan.wall_s))
            return _round(result, acknowledged=self.unit == "acknowledged messages")

        peer = Contender(
            "mosquitto",
            lambda: measuring(mosquitto(plan.folder, persistent=shape.retain), measure),
        )
        subject = Contender("LyreDB", lambda: measuring(_lyredb_mqtt(plan), measure))
        mine, other = compete(plan, subject, peer)
        return Comparison(self.name, self.unit, self._conditions(shape), mine, other, self.wanted)

    def _conditions(self, shape: Shape) -> str:
        names = f"{shape.topics:,} topics" if shape.topics > 1 else "1 topic"
        listeners = f"{shape.subscribers} subscribers" if shape.subscribers != 1 else "1 subscriber"
        if shape.subscribers:
            listeners += f" to {shape.topic_filter} at QoS {shape.subscriber_qos}"
        return (
            f"1 publisher, QoS {shape.qos}, {names}, {listeners}; bursts of {shape.burst:,},"
            f" at most {shape.burst * shape.in_flight:,} messages in flight;"
            f" payload {shape.payload_bytes} bytes; {self.durability}"
        )


@contextmanager
def _lyredb_mqtt(plan: Plan) -> Iterator[Target]:
    with lyredb(plan.folder) as running:
        yield running.mqtt


def _round(result: LoadResult, *, acknowledged: bool) -> Round:
    faults = str(result.faults)
    return Round(
        work=result.acknowledged if acknowledged else result.deliveries,
        wall_s=result.wall_s,
        server_cpu_s=result.server_cpu_s,
        load_cpu_s=result.load_cpu_s,
        frames_per_read=result.deliveries / result.reads if result.reads else 0.0,
        trouble=", ".join(filter(None, (faults, result.failure))),
    )


SCENARIOS = (
    MqttScenario(
        "qos0 one to one in bursts",
        "deliveries",
        Shape(topics=1, topic_filter="Bench/k00000", burst=1_000),
        wanted=10,
    ),
    MqttScenario(
        "qos0 fan-out to 100 in bursts",
        "deliveries",
        Shape(topics=1, topic_filter="Bench/k00000", burst=50, subscribers=100),
        wanted=20,
    ),
    MqttScenario(
        "qos1 acks (no durable subscriber)",
        "acknowledged messages",
        Shape(topics=1, topic_filter="Bench/k00000", burst=100, qos=1, subscribers=0),
    ),
    MqttScenario(
        "qos1 end to end",
        "deliveries",
        Shape(topics=1, topic_filter="Bench/k00000", burst=100, qos=1, subscriber_qos=1),
    ),
    MqttScenario(
        "1,000 topics on one connection",
        "deliveries",
        Shape(topics=1_000, topic_filter="Bench/#", burst=1_000),
    ),
    MqttScenario(
        "durable retained writes on 1,000 keys, QoS 1, window 1000",
        "acknowledged messages",
        Shape(
            topics=1_000,
            topic_filter="Bench/#",
            burst=500,
            in_flight=2,
            qos=1,
            subscribers=0,
            retain=True,
        ),
        durability=KEPT,
    ),
)
