"""The closed loop: send a burst, wait until it has arrived everywhere, send the next.

Everything the loop sends was built before; per burst it costs one ``send``, per
readable socket one ``recv`` and one comparison. So the server is what is measured, and
how busy the load itself was stands in the result.
"""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Callable

from bench.load.check import AckCheck, Check, DeliveryCheck, Faults
from bench.load.client import Connection, LoadFailed
from bench.load.flow import MAX_CYCLE, Flow, place_of
from bench.load.frames import BadFrame, read_publish
from bench.load.spec import Bounds, LoadResult, Shape, Target
from bench.peers.cpu import cpu_s, tree

LOOK_EVERY_S = 0.1
"""How often the server's CPU time is looked at to see whether it is enough."""
WARM_UP_S = 0.3
TOPIC = "Bench/k{:05d}"


def flow_of(shape: Shape) -> Flow:
    """Build the messages: as many cycles of all topics as packet identifiers allow, up to 16."""
    step = shape.burst
    while step % shape.topics or step <= shape.burst * (shape.in_flight + 1):
        step += shape.burst
    return Flow(
        topics=[TOPIC.format(number) for number in range(shape.topics)],
        burst=shape.burst,
        cycle=step * max(1, min(16, MAX_CYCLE // step)),
        level=shape.level,
        qos=shape.qos,
        retain=shape.retain,
        payload_bytes=shape.payload_bytes,
    )


class Driver:
    """One run against one server."""

    def __init__(self, target: Target, shape: Shape, bounds: Bounds) -> None:
        self._target, self._shape, self._bounds = target, shape, bounds
        self._flow = flow_of(shape)
        self._bursts = itertools.cycle(self._flow.bursts())
        self._sent = 0
        self._arrived = 0  # summed over all readers
        self._poll = select.epoll()
        self._readers: dict[int, Connection] = {}
        self._subscribers: list[Connection] = []
        self._checks: list[Check] = []

    def run(self) -> LoadResult:
        """Connect, warm up, measure, verify; a failure is told in the result."""
        result = LoadResult()
        connections: list[Connection] = []
        try:
            publisher = self._connect(connections)
            self._loop(publisher, self._after(WARM_UP_S))
            self._measure(publisher, result)
        except (LoadFailed, BadFrame, OSError) as error:
            result.failure = str(error) or type(error).__name__
        for check in self._checks:
            check.finish(self._sent)
            result.faults.add(check.faults)
        if self._shape.retain and not result.failure:
            self._read_back(result)
        for connection in connections:
            connection.close()
        self._poll.close()
        return result

    def _connect(self, connections: list[Connection]) -> Connection:
        for number in range(self._shape.subscribers):
            subscriber = self._open(connections, f"bench-sub-{number}")
            subscriber.subscribe(self._shape.topic_filter, self._shape.subscriber_qos)
            self._watch(subscriber, DeliveryCheck(self._flow, self._shape.subscriber_qos))
            self._subscribers.append(subscriber)
        publisher = self._open(connections, "bench-pub")
        if self._shape.qos:
            self._watch(publisher, AckCheck(self._flow))
        publisher.socket.setblocking(False)
        return publisher

    def _open(self, connections: list[Connection], client_id: str) -> Connection:
        connections.append(Connection(self._target, client_id, self._shape.level))
        return connections[-1]

    def _watch(self, connection: Connection, check: Check) -> None:
        connection.begin(check)
        self._checks.append(check)
        self._readers[connection.socket.fileno()] = connection
        self._poll.register(connection.socket.fileno(), select.EPOLLIN)

    def _measure(self, publisher: Connection, result: LoadResult) -> None:
        pids = tree(self._target.pid)
        cpu, load_cpu = cpu_s(pids), time.process_time()
        wall, sent, reads = time.monotonic(), self._sent, self._reads()
        self._loop(publisher, self._enough(pids, cpu))
        result.wall_s = time.monotonic() - wall
        result.load_cpu_s = time.process_time() - load_cpu
        result.server_cpu_s = cpu_s(tree(self._target.pid)) - cpu
        result.messages = self._sent - sent
        result.deliveries = result.messages * self._shape.subscribers
        result.acknowledged = result.messages if self._shape.qos else 0
        result.reads = self._reads() - reads

    def _loop(self, publisher: Connection, done: Callable[[], bool]) -> None:
        """Send bursts until ``done``, then wait for the last to arrive."""
        per_burst = self._shape.burst * len(self._readers)
        room = per_burst * (self._shape.in_flight - 1)
        while not done():
            self._send(publisher, next(self._bursts))
            self._sent += self._shape.burst
            self._wait(self._sent * len(self._readers) - room)
        self._wait(self._sent * len(self._readers))

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
        ready = self._poll.poll(timeout_s)
        for descriptor, _ in ready:
            self._arrived += self._readers[descriptor].read()
        return bool(ready)

    def _send(self, publisher: Connection, burst: bytes) -> None:
        """Send a burst whole; while the server does not take it, read what it has to say."""
        rest = memoryview(burst)
        deadline = time.monotonic() + self._bounds.stall_s
        while rest:
            try:
                rest = rest[publisher.socket.send(rest) :]
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise LoadFailed("the server stopped reading") from error
                self._pump(0.001)

    def _after(self, seconds: float) -> Callable[[], bool]:
        deadline = time.monotonic() + seconds
        return lambda: time.monotonic() >= deadline

    def _enough(self, pids: list[int], start_s: float) -> Callable[[], bool]:
        """Tell when the server has used enough CPU, or the time or count is up."""
        look, deadline = 0.0, time.monotonic() + self._bounds.wall_s

        def done() -> bool:
            nonlocal look
            now = time.monotonic()
            if now < look:
                return False
            look = now + LOOK_EVERY_S
            used_s = cpu_s(pids) - start_s
            return (
                used_s >= self._bounds.cpu_s
                or now >= deadline
                or self._sent >= self._bounds.messages
            )

        return done

    def _reads(self) -> int:
        return sum(subscriber.reads for subscriber in self._subscribers)

    def _read_back(self, result: LoadResult) -> None:
        """Every topic's retained message must be the last that was written to it."""
        try:
            result.faults.add(self._compare_state())
        except (LoadFailed, BadFrame, OSError) as error:
            result.failure = f"reading back: {error}"

    def _compare_state(self) -> Faults:
        wanted = self._last_places()
        faults, found = Faults(), dict[str, int]()
        connection = Connection(self._target, "bench-check", self._shape.level)
        connection.subscribe(self._shape.topic_filter, 0)
        try:
            while len(found) < len(wanted):
                message = read_publish(
                    connection.recv_frame(self._bounds.stall_s), self._shape.level
                )
                found[message.topic] = place_of(message.payload)
        except LoadFailed:
            faults.lost = len(wanted) - len(found)
        finally:
            connection.close()
        faults.disordered = sum(wanted.get(topic) != place for topic, place in found.items())
        return faults

    def _last_places(self) -> dict[str, int]:
        """Return each topic's last written place in the cycle."""
        first = max(0, self._sent - self._shape.topics)
        return {
            self._flow.topic(index % self._flow.cycle): index % self._flow.cycle
            for index in range(first, self._sent)
        }
