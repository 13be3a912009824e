"""The closed loop: send a burst, wait until it has arrived everywhere, send the next.

Everything the loop sends was built before; per burst it costs one ``send``, per
readable socket one ``recv`` and one comparison. So the server is what is measured, and
how busy the load itself was stands in the result.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator

from bench.load.cast import Cast
from bench.load.client import Connection, LoadFailed
from bench.load.flow import LONG_CYCLE_IDS, MAX_CYCLE, Flow
from bench.load.frames import BadFrame
from bench.load.pace import Pace
from bench.load.readback import compare_state
from bench.load.spec import Bounds, LoadResult, Shape, Target
from bench.load.wire import wire_of
from bench.peers.cpu import cpu_s, tree

WARM_UP_S = 0.3
SEED = 20_240_517
"""The order of shuffled topics is the same in each run."""


def flow_of(shape: Shape, target: Target) -> Flow:
    """Build the messages: as many cycles of all topics as packet identifiers allow, up to 16."""
    width = 5 if shape.topics <= 100_000 else 6
    topics = [f"Bench/k{number:0{width}d}" for number in range(shape.topics)]
    if shape.shuffled:
        random.Random(SEED).shuffle(topics)
    return Flow(
        topics=topics,
        burst=shape.burst,
        cycle=_cycle(shape),
        wire=wire_of(target, shape.level, is_traced=shape.is_traced),
        qos=shape.qos,
        retain=shape.retain,
        payload_bytes=shape.payload_bytes,
    )


def _cycle(shape: Shape) -> int:
    step = shape.burst
    while step % shape.topics or step <= shape.burst * (shape.in_flight + 1):
        step += shape.burst
    if step <= MAX_CYCLE:
        return step * max(1, min(16, MAX_CYCLE // step))
    while step % LONG_CYCLE_IDS:
        step += shape.burst * shape.topics
    return step


class Driver:
    """One run against one server."""

    def __init__(self, target: Target, shape: Shape, bounds: Bounds) -> None:
        self._target, self._shape, self._bounds = target, shape, bounds
        self._flow = flow_of(shape, target)
        self._bursts = itertools.cycle(self._flow.bursts())
        self._cast = Cast(target, shape, self._flow)
        self._publishers: Iterator[Connection] = iter(())
        self._sent = 0
        self._arrived = 0  # summed over all readers
        self._pace: Pace | None = None  # the warm-up runs as fast as it goes

    @property
    def _per_message(self) -> int:
        """How often each message arrives: at its readers, and back as an acknowledgement."""
        return self._shape.deliveries + bool(self._shape.qos)

    def run(self) -> LoadResult:
        """Connect, warm up, measure, verify; a failure is told in the result."""
        result = LoadResult()
        try:
            self._publishers = itertools.cycle(self._cast.connect())
            self._loop(self._warm())
            self._measure(result)
            self._wake()
        except (LoadFailed, BadFrame, OSError) as error:
            result.failure = str(error) or type(error).__name__
        result.sent = self._sent
        for check in self._cast.checks:
            check.finish(self._sent)
            result.faults.add(check.faults)
        if self._shape.retain and not result.failure:
            self._read_back(result)
        self._cast.close()
        return result

    def _measure(self, result: LoadResult) -> None:
        if self._shape.pace_hz:
            self._pace = Pace(self._shape.pace_hz)
            self._pace.begin()
        cpu, load_cpu = cpu_s(tree(self._target.pid)), time.process_time()
        wall, sent, reads = time.monotonic(), self._sent, self._cast.reads
        self._loop(self._enough())
        result.wall_s = time.monotonic() - wall
        result.load_cpu_s = time.process_time() - load_cpu
        result.server_cpu_s = cpu_s(tree(self._target.pid)) - cpu
        result.messages = self._sent - sent
        result.acknowledged = result.messages if self._shape.qos else 0
        result.deliveries = result.messages * self._shape.deliveries
        result.reads = self._cast.reads - reads
        if self._pace:
            result.p50_ms, result.p99_ms = self._pace.quantiles_ms()

    def _wake(self) -> None:
        """Have those who were away come back, and wait until they have everything."""
        if self._shape.away:
            self._cast.wake()
            self._wait(self._arrived + self._sent * self._shape.away)

    def _loop(self, done: Callable[[], bool]) -> None:
        """Send bursts until ``done``, then wait for the last to arrive."""
        each = self._per_message
        room = self._shape.burst * each * (self._shape.in_flight - 1)
        while not done():
            if self._pace:
                self._pace.wait()
            self._send(next(self._publishers), next(self._bursts))
            self._sent += self._shape.burst
            self._wait(self._sent * each - room)
            if self._pace:
                self._pace.note_arrival()
        self._wait(self._sent * each)

    def _wait(self, wanted: int) -> None:
        """Read until so many messages have arrived, summed over all readers."""
        quiet_since = 0.0
        while self._arrived < wanted:
            if self._pump(min(1.0, self._bounds.stall_s)):
                quiet_since = 0.0
                continue
            quiet_since = quiet_since or time.monotonic()
            if time.monotonic() - quiet_since > self._bounds.stall_s:
                raise LoadFailed(f"no progress for {self._bounds.stall_s:g} s")

    def _pump(self, timeout_s: float) -> bool:
        """Read every socket that has something; False if none had within the time."""
        ready = self._cast.poll.poll(timeout_s)
        for descriptor, _ in ready:
            self._arrived += self._cast.readers[descriptor].read()
        return bool(ready)

    def _send(self, publisher: Connection, burst: bytes) -> None:
        """Send a burst whole; while the server does not take it, read what it has to say."""
        rest = memoryview(burst)
        deadline = time.monotonic() + self._bounds.stall_s
        while rest:
            try:
                rest = rest[publisher.send(rest) :]
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise LoadFailed("the server stopped reading") from error
                self._pump(0.001)

    def _warm(self) -> Callable[[], bool]:
        """Tell when the time is up and each publisher, of many, has sent once."""
        deadline = time.monotonic() + WARM_UP_S
        bursts = self._shape.publishers if self._shape.publishers > 1 else 0
        least = bursts * self._shape.burst
        return lambda: time.monotonic() >= deadline and self._sent >= least

    def _enough(self) -> Callable[[], bool]:
        """Tell when the time or the count is up."""
        deadline, most = time.monotonic() + self._bounds.wall_s, self._bounds.messages
        return lambda: time.monotonic() >= deadline or self._sent >= most

    def _read_back(self, result: LoadResult) -> None:
        """Every topic's retained message must be the last that was written to it."""
        try:
            wanted = self._last_places()
            result.faults.add(
                compare_state(
                    self._target,
                    wanted,
                    topic_filter=self._shape.topic_filter,
                    level=self._shape.level,
                    stall_s=self._bounds.stall_s,
                )
            )
        except (LoadFailed, BadFrame, OSError) as error:
            result.failure = f"reading back: {error}"

    def _last_places(self) -> dict[str, int]:
        """Return each topic's last written place in the cycle."""
        first = max(0, self._sent - self._shape.topics)
        return {
            self._flow.topic(index % self._flow.cycle): index % self._flow.cycle
            for index in range(first, self._sent)
        }
