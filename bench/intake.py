"""How fast messages are read without sockets: a chunk of PUBLISH packets taken apart.

    .venv/bin/python bench/intake.py [SECONDS] [--profile NAME]

Each case is what a connection reads at once, taken by `Publishing.take` and flushed to one
subscriber that counts. Beside the streams that the loop likes best stand those that it has
to be no worse at: sizes that differ from frame to frame, and topics in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # it was bench/

from bench.delivery import Rig, Sink
from lyredb.plugins.context import Context
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.packets import V5, V311
from lyredb.protocols.mqtt.publishing import Owner, Publishing
from lyredb.protocols.mqtt.service import Service, Sleepers
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator
from lyredb.security.principals import SUPER_USER
from lyredb.sessions.claims_client import Claims

CHUNK_FRAMES = 1_000
TOPIC = "plant/7/press/pressure"


def frame(
    topic: str,
    payload: bytes,
    *,
    qos: int = 0,
    version: int = V311,
    number: int = 1,
    properties: bytes = b"",
) -> bytes:
    """A PUBLISH."""
    body = len(topic).to_bytes(2, "big") + topic.encode()
    if qos:
        body += number.to_bytes(2, "big")
    if version == V5:
        body += bytes((len(properties),)) + properties
    body += payload
    length = len(body)
    digits = bytes((length,)) if length < 128 else bytes((length & 127 | 128, length >> 7))
    return bytes((0x30 | qos << 1,)) + digits + body


def payloads(*sizes: int) -> Iterator[bytes]:
    """Payloads that differ, of random sizes among these."""
    random.seed(1)
    while True:
        yield random.randbytes(random.choice(sizes))


def two_properties(number: int) -> bytes:
    """Two user properties, as tracing has them."""
    pairs = {"trace": f"4bf92f3577b34da6-{number:016x}", "unit": "hPa"}
    return b"".join(
        b"\x26" + b"".join(len(part).to_bytes(2, "big") + part.encode() for part in pair)
        for pair in pairs.items()
    )


def stream(
    topics: list[str],
    *sizes: int,
    burst: int = 1,
    qos: int = 0,
    version: int = V311,
    traces: int = 0,
) -> bytes:
    """A chunk over the topics in turn, ``burst`` frames on each.

    With ``traces`` frames have two user properties, of so many different ones.
    """
    source = payloads(*sizes)
    return b"".join(
        frame(
            topics[n // burst % len(topics)],
            next(source),
            qos=qos,
            version=version,
            number=n + 1,
            properties=two_properties(n % traces) if traces else b"",
        )
        for n in range(CHUNK_FRAMES)
    )


def released(topics: list[str]) -> bytes:
    """A chunk of QoS 2 in windows of 100, each of which is released after it."""
    frames = []
    for first in range(1, CHUNK_FRAMES, 100):
        numbers = range(first, first + 100)
        frames += [
            frame(topics[n % len(topics)], bytes(64), qos=2, number=n % 100 + 1) for n in numbers
        ]
        frames += [b"\x62\x02" + (n % 100 + 1).to_bytes(2, "big") for n in numbers]
    return b"".join(frames)


MANY = [f"plant/{n:04}/pressure" for n in range(1000)]
CASES: dict[str, tuple[bytes, int]] = {
    "one size": (stream([TOPIC], 64), V311),
    "one size, 200 bytes": (stream([TOPIC], 200), V311),
    "one size, v5": (stream([TOPIC], 64, version=V5), V5),
    "one size, QoS 1": (stream([TOPIC], 64, qos=1), V311),
    "one size, QoS 1, v5": (stream([TOPIC], 64, qos=1, version=V5), V5),
    "two sizes": (stream([TOPIC], 64, 65), V311),
    "ten sizes": (stream([TOPIC], *range(60, 70)), V311),
    "100 sizes": (stream([TOPIC], *range(100, 200)), V311),
    "100 sizes, QoS 1": (stream([TOPIC], *range(100, 200), qos=1), V311),
    "two topics in turn": (stream(MANY[:2], 64), V311),
    "10 topics, 5 each": (stream(MANY[:10], 64, burst=5), V311),
    "10 topics, 50 each": (stream(MANY[:10], 64, burst=50), V311),
    "one size, QoS 2": (released([TOPIC]), V311),
    "1,000 topics, QoS 2": (released(MANY), V311),
    "two properties": (stream([TOPIC], 64, version=V5, traces=1), V5),
    "two properties, QoS 1": (stream([TOPIC], 64, version=V5, traces=1, qos=1), V5),
    "1,000 topics, two properties": (stream(MANY, 64, version=V5, traces=1), V5),
    "1,000 different properties": (stream(MANY, 64, version=V5, traces=1_000), V5),
    "1,000 topics, v5": (stream(MANY, 64, version=V5), V5),
    "1,000 topics": (stream(MANY, 64), V311),
    "1,000 topics, sizes": (stream(MANY, *range(60, 70)), V311),
    "1,000 topics, QoS 1": (stream(MANY, 64, qos=1), V311),
}


class Publisher:
    """The reading side of a connection, and one subscriber of everything."""

    def __init__(self, version: int) -> None:
        self.rig = Rig(raw=f"m{version}")
        self.rig.join(Sink(), "#", raw=f"m{version}", qos=2)
        database = SimpleNamespace(
            ingress=lambda context, kind, content_type: self.rig.ingress,
            on_access_change=lambda callback: None,
        )
        # A real one: compiled code takes no stand-in for a class of its own.
        service = Service(
            cast(Database, database),
            cast(Authenticator, None),
            Limits(),
            cast(Claims, None),
            cast(Sleepers, None),
            loop=asyncio.new_event_loop(),
        )
        self.counters = service.counters
        self.publishing = Publishing(
            cast(Owner, self.rig.source),
            service,
            Context(SUPER_USER, "mqtt", "", 1),
            version,
            content_type="",
        )

    def learn(self, topics: list[str]) -> None:
        """Know the topics, as after their first message."""
        for topic in topics:
            self.rig.ingress.path(topic.encode())

    def read(self, data: bytes) -> None:
        """Take a chunk and end the tick.

        Raises:
            RuntimeError: Some of it was left, so that the figure would mean nothing.
        """
        position, size = 0, len(data)
        while position < size:
            before = position
            position = self.publishing.take(data, position)
            if position < size and data[position] == 0x62:
                position = self.publishing.take_releases(data, position)
            if position == before:
                raise RuntimeError(f"{data[position : position + 20]!r} was not taken")
        self.publishing.acks.ready = b""
        self.rig.end_tick()


def prepared(name: str) -> Callable[[], None]:
    """What reads the chunk of a case once."""
    data, version = CASES[name]
    publisher = Publisher(version)
    publisher.learn([TOPIC, *MANY])
    publisher.read(data)
    if publisher.rig.sinks[0].frames != CHUNK_FRAMES or publisher.counters.received != CHUNK_FRAMES:
        raise RuntimeError("not every frame was delivered and counted")
    return lambda: publisher.read(data)


def measure(name: str, seconds: float) -> str:
    """Run one case and return its line; the best of five parts, as others use the machine."""
    run = prepared(name)
    best = float("inf")
    for _ in range(5):
        chunks, began = 0, time.process_time()
        while (spent := time.process_time() - began) < seconds / 5:
            run()
            chunks += 1
        best = min(best, spent / chunks)
    return f"{name:24} {best / CHUNK_FRAMES * 1e9:8.0f} ns a frame"


def profile(name: str) -> None:
    """Print where one case spends its time."""
    run = prepared(name)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(500):
        run()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast messages are read without sockets")
    parser.add_argument("seconds", nargs="?", type=float, default=0.5)
    parser.add_argument("--profile", choices=CASES)
    arguments = parser.parse_args()
    if arguments.profile:
        profile(arguments.profile)
        return
    for name in CASES:
        print(measure(name, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
