"""A million subscriptions in one process: what each costs, and a publish among them.

Without sockets and sessions: what a worker does for each filter of a client. In a process of
its own, since memory and page faults of what ran before would be in it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.peers.process import environment, python
from bench.result import Figure
from lyredb.delivery.hub import Terms
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Batch, Message
from lyredb.resources.requests import SubscribeOptions
from lyredb.security.principals import SUPER_USER
from lyredb.server.collector import spare_collector
from lyredb.server.node import Node
from lyredb.tables.schema import Schema

FILTERS_EACH: Final = 10
"""Of each subscriber; one of them has a wildcard."""
PUBLISHED: Final = 20_000
WITHIN_S: Final = 900.0
AT_MOST_US: Final = 10.0
"""What "a few µs" means at most."""


class _Frames:
    raw = "bench"
    takes_messages = False

    def frame(
        self, message: Message, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        return message.topic, 0


class _Subscriber:
    """Counts what it is written."""

    is_congested = False

    def __init__(self) -> None:
        self.written = 0

    def write(self, batch: Batch) -> None:
        self.written += 1

    def write_messages(self, messages: Sequence[Message]) -> None:
        raise AssertionError("frames were asked for")

    def close(self, reason: Exception) -> None:
        raise reason


FRAMES: Final = _Frames()


def subscribing(count: int) -> list[Figure]:
    """Measure so many subscriptions of the database, and as many joins of its hub."""
    figures = []
    for way in ("database", "hub"):
        ran = subprocess.run(
            python("-m", "bench.sessions.subscribing", way, str(count)),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            env=environment(),
            check=False,
        )
        if ran.returncode:
            trouble = ran.stderr.strip()[-300:]
            figures.append(Figure(f"subscriptions, {way}", "", "", None, {}, trouble=trouble))
        else:
            figures += _figures(way, count, json.loads(ran.stdout))
    return figures


def _figures(way: str, count: int, found: dict[str, float]) -> list[Figure]:
    conditions = (
        f"{count:,} filters of {count // FILTERS_EACH:,} subscribers in one process, one in"
        f" {FILTERS_EACH} with a wildcard, CPU with the system's part, memory new to the process"
    )
    what = {"database": "subscription", "hub": "filter in the hub"}[way]
    names = {
        "join": (f"{what}, to begin", "µs"),
        "again": (f"{what}, to begin in memory that was used before", "µs"),
        "leave": (f"{what}, to end", "µs"),
        "bytes": (f"{what}, memory", "bytes"),
        "publish": (f"a publish among them ({what})", "µs"),
    }
    return [
        _figure(name, unit, conditions, found[key], has_goal=key in ("join", "leave"))
        for key, (name, unit) in names.items()
    ]


def _figure(name: str, unit: str, conditions: str, found: float, *, has_goal: bool) -> Figure:
    wanted = f"at most {AT_MOST_US:g} µs" if has_goal else ""
    is_met = found <= AT_MOST_US if has_goal else None
    return Figure(name, unit, conditions, found, {}, wanted, is_met)


def main(way: str, count: int) -> None:
    """Measure in this process, and print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(_measured(Path(folder), way, count))
    print(json.dumps(found))


async def _measured(folder: Path, way: str, count: int) -> dict[str, float]:
    node = Node.open(folder / "data", Schema(), open_topics=True)
    subscribers = [_Subscriber() for _ in range(max(1, count // FILTERS_EACH))]
    filters = [_filter(number) for number in range(count)]
    begin, end = _ways(node, way, filters, subscribers)
    spare_collector()
    before, cpu = _own_bytes(), time.process_time()
    begin()
    joined = time.process_time() - cpu
    size = _own_bytes() - before
    published = _publish(node, count, subscribers)
    cpu = time.process_time()
    end()
    left = time.process_time() - cpu
    gc.collect()
    cpu = time.process_time()
    begin()
    again = time.process_time() - cpu
    end()
    await node.close()
    return {
        "join": joined / count * 1e6,
        "again": again / count * 1e6,
        "leave": left / count * 1e6,
        "bytes": size / count,
        "publish": published / PUBLISHED * 1e6,
    }


def _filter(number: int) -> str:
    return f"site/{number}/state" if number % FILTERS_EACH else f"site/{number}/+/state"


def _ways(
    node: Node, way: str, filters: Sequence[str], subscribers: Sequence[_Subscriber]
) -> tuple[Callable[[], None], Callable[[], None]]:
    """How all of them begin, and how they end."""
    if way == "database":
        context = Context(SUPER_USER, "mqtt", "bench", 1)
        options = SubscribeOptions(FRAMES, omit_current=True)
        database, made = node.database, []

        def begin() -> None:
            for number, filter in enumerate(filters):
                subscriber = subscribers[number // FILTERS_EACH]
                made.append(database.subscribe(filter, subscriber, context, options))
                made[-1].start()

        def end() -> None:
            for one in made:
                one.close()
            made.clear()

        return begin, end
    hub, terms = node.hub, Terms(FRAMES, 0, SUPER_USER, "mqtt")

    def join() -> None:
        for number, filter in enumerate(filters):
            hub.join(filter, subscribers[number // FILTERS_EACH], terms)

    def leave() -> None:
        for number, filter in enumerate(filters):
            hub.leave(filter, subscribers[number // FILTERS_EACH])

    return join, leave


def _publish(node: Node, count: int, subscribers: Sequence[_Subscriber]) -> float:
    """CPU seconds of messages to as many topics, each with one subscriber."""
    context = Context(SUPER_USER, "mqtt", "somebody", 2)
    numbers = [number for number in range(1, count, max(2, count // PUBLISHED)) if number % 10]
    topics = [f"site/{number}/state" for number in numbers]
    cpu = time.process_time()
    for turn in range(PUBLISHED):
        node.database.publish(topics[turn % len(topics)], b"x" * 64, context)
        node.hub.flush()
    used = time.process_time() - cpu
    written = sum(one.written for one in subscribers)
    if written != PUBLISHED:
        raise AssertionError(f"{written} of {PUBLISHED} messages came")
    return used


def _own_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
