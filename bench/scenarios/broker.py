"""What a broker is asked for besides: properties, acknowledgements, QoS 2, many devices."""

from __future__ import annotations

from bench.load.spec import Shape
from bench.scenarios.messages import ACKNOWLEDGED, DELIVERIES, ONE, MessageScenario

IN_A_LOG = (
    "LyreDB answers after fsync of its log, mosquitto has persistence on, which it writes"
    " every 30 minutes and when it ends: it answers from memory"
)
DEVICES, EVERY_S = 10_000, 10

SCENARIOS = (
    MessageScenario(
        "MQTT 5 with 2 user properties",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=1_000, is_traced=True),
        wanted={"mosquitto": (3, 10)},
    ),
    MessageScenario(
        "qos1 acks, a durable subscriber away",
        ACKNOWLEDGED,
        Shape(topics=1, topic_filter=ONE, burst=100, qos=1, subscribers=0, away=1),
        wanted={"mosquitto": 1.2},
        durability=IN_A_LOG,
    ),
    MessageScenario(
        "qos1 to 10 that acknowledge, window of 100",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=100, qos=1, subscribers=10, subscriber_qos=1),
        wanted={"mosquitto": 15},
    ),
    MessageScenario(
        "qos2, clean sessions",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=100, qos=2, subscriber_qos=2),
        wanted={"mosquitto": 5},
    ),
    MessageScenario(
        "qos2, durable sessions",
        DELIVERIES,
        Shape(topics=1, topic_filter=ONE, burst=100, qos=2, subscriber_qos=2, durable=True),
        wanted={"mosquitto": None},
        durability=IN_A_LOG,
        at_least_per_cpu_s=8_000,
    ),
    MessageScenario(
        "shared subscription of 10 members",
        DELIVERIES,
        Shape(
            topics=1,
            topic_filter=f"$share/bench/{ONE}",
            burst=100,
            qos=1,
            subscribers=10,
            subscriber_qos=1,
        ),
        wanted={"mosquitto": None},
    ),
    MessageScenario(
        "10,000 devices and a dashboard on #",
        DELIVERIES,
        Shape(
            topics=DEVICES,
            topic_filter="Bench/#",
            burst=1,
            publishers=DEVICES,
            shuffled=True,
            pace_hz=DEVICES / EVERY_S,
        ),
        wanted={"mosquitto": 0.7},
        p99_at_most=2.0,
        settings={"LYREDB_MQTT_MAX_CONNECTIONS": "11000"},
    ),
)
