"""How fast delivery is without sockets: frames handed to subscribers per second of CPU.

    .venv/bin/python bench/delivery.py [SECONDS] [--profile NAME]

Publishers are modelled as the MQTT connection works: a chunk with a burst of frames, a
look-up per topic, runs pushed as slices. Each case runs for SECONDS (0.5 by default).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lyredb.delivery.admission import ALL, Destination, View
from lyredb.delivery.group import Group
from lyredb.delivery.hub import Hub, Terms
from lyredb.delivery.message import Message
from lyredb.plugins.context import Principal
from lyredb.plugins.delivery import Batch
from lyredb.plugins.delivery import Message as AnyMessage
from lyredb.protocols.mqtt.relayed import feed
from lyredb.storage.entry import Entry
from lyredb.storage.keys import KeyValue, encode_key
from lyredb.storage.mutation import DeleteReason, Kind
from lyredb.storage.record import encode_record

PAYLOAD = b"x" * 64
SLOT = 16


@dataclass(frozen=True)
class Root:
    name: str = "root"
    key: str = "root"


@dataclass(frozen=True)
class Frames:
    """Frames as bytes; two of different ``raw`` have to be made for each other."""

    raw: str = "m4"
    takes_messages: bool = False

    def frame(
        self, message: AnyMessage, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        return b"\x30" + message.topic + PAYLOAD, 0


class Sink:
    """A subscriber that counts."""

    __slots__ = ("frames",)
    is_congested = False

    def __init__(self) -> None:
        self.frames = 0

    def write(self, batch: Batch) -> None:
        self.frames += batch.count

    def write_messages(self, messages: Sequence[AnyMessage]) -> None:
        self.frames += len(messages)

    def close(self, reason: Exception) -> None:
        raise reason


class Source:
    """A publisher."""

    def pause_reading(self, why: object) -> None:
        raise AssertionError("nobody is congested")

    def resume_reading(self, why: object) -> None:
        raise AssertionError("nobody is congested")


class Never:
    """A timer of a run in which nothing is late."""

    def cancel(self) -> None:
        """Nothing was to come."""


class Table:
    name = "data.Sensor"
    slot = SLOT

    def decode(self, key: KeyValue, stored: bytes) -> dict[str, object]:
        return {"id": key}


class Everything:
    """Admits everybody to everything."""

    def publish(self, principal: Principal, protocol: str, topic: bytes) -> Destination:
        return Destination(SLOT, topic, topic.decode(), "data.Sensor")

    def read(self, principal: Principal, protocol: str, topic: bytes) -> View | None:
        return ALL

    def of(self, slot: int, key: bytes) -> tuple[bytes, ...]:
        return (b"Sensor/" + key[1:],) if key else (b"Sensor",)


class Rig:
    """A hub with subscribers, and a publisher of raw frames."""

    def __init__(self, raw: str = "m4") -> None:
        self.ticks: list[Callable[[], None]] = []
        everything = Everything()
        self.hub = Hub(
            everything,
            everything,
            {SLOT: Table()},
            schedule_flush=self.ticks.append,
            call_later=lambda delay_s, callback: Never(),
        )
        self.ingress = self.hub.ingress(Root(), "mqtt", raw)
        self.source = Source()
        self.sinks: list[Sink] = []

    def join(
        self,
        sink: Sink,
        *filters: str,
        raw: str = "m4",
        ids: tuple[int, ...] = (),
        qos: int = 0,
    ) -> None:
        for one in filters:
            self.hub.join(one, sink, Terms(Frames(raw), qos, Root(), "mqtt", ids))
        if sink not in self.sinks:
            self.sinks.append(sink)

    def burst(self, chunk: bytes, frames: Sequence[tuple[int, int, bytes]]) -> None:
        """Push a chunk as a connection would, then end the tick."""
        paths, ingress = self.ingress.paths, self.ingress
        group: Group | None = None
        start = position = count = 0
        for begin, end, topic in frames:
            path = paths.get(topic) or ingress.path(topic)
            solo = path.solo0
            if solo is not group or solo is None:
                if group is not None:
                    ingress.push_run(group, chunk, start, position, count, self.source)
                group, start, count = solo, begin, 0
                if solo is None and not path.idle:
                    message = Message.direct(topic, PAYLOAD, path.destination)
                    ingress.push(path, message, self.source, chunk[begin:end])
            count += 1
            position = end
        if group is not None:
            ingress.push_run(group, chunk, start, position, count, self.source)
        self.end_tick()

    def end_tick(self) -> None:
        for callback in self.ticks:
            callback()
        self.ticks.clear()


def chunk_of(topics: Sequence[str]) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """A chunk with a frame per topic, and where each of them is."""
    parts: list[bytes] = []
    frames: list[tuple[int, int, bytes]] = []
    at = 0
    for topic in topics:
        frame = b"\x30" + topic.encode() + PAYLOAD
        frames.append((at, at + len(frame), topic.encode()))
        parts.append(frame)
        at += len(frame)
    return b"".join(parts), frames


def one_to_one() -> tuple[Rig, Callable[[], None]]:
    """One subscriber, bursts of 50 on one topic."""
    rig = Rig()
    rig.join(Sink(), "a")
    chunk, frames = chunk_of(["a"] * 50)
    return rig, lambda: rig.burst(chunk, frames)


def fan_out() -> tuple[Rig, Callable[[], None]]:
    """100 subscribers of one topic, bursts of 50."""
    rig = Rig()
    for _ in range(100):
        rig.join(Sink(), "a")
    chunk, frames = chunk_of(["a"] * 50)
    return rig, lambda: rig.burst(chunk, frames)


def thousand_topics_wildcard() -> tuple[Rig, Callable[[], None]]:
    """One subscriber of t/+, a burst over 1,000 topics."""
    rig = Rig()
    rig.join(Sink(), "t/+")
    chunk, frames = chunk_of([f"t/{n}" for n in range(1000)])
    return rig, lambda: rig.burst(chunk, frames)


def thousand_topics_exact() -> tuple[Rig, Callable[[], None]]:
    """One subscriber with 1,000 exact filters, a burst over all of them."""
    rig = Rig()
    rig.join(Sink(), *(f"t/{n}" for n in range(1000)))
    chunk, frames = chunk_of([f"t/{n}" for n in range(1000)])
    return rig, lambda: rig.burst(chunk, frames)


def hundred_subscribers() -> tuple[Rig, Callable[[], None]]:
    """100 topics with a subscriber each, bursts of 10 on each in turn."""
    rig = Rig()
    for number in range(100):
        rig.join(Sink(), f"t/{number}")
    chunk, frames = chunk_of([f"t/{n}" for n in range(100) for _ in range(10)])
    return rig, lambda: rig.burst(chunk, frames)


def dashboard() -> tuple[Rig, Callable[[], None]]:
    """100 topics with a subscriber each and one subscriber of #, singles in turn."""
    rig = Rig()
    for number in range(100):
        rig.join(Sink(), f"t/{number}")
    rig.join(Sink(), "#")
    chunk, frames = chunk_of([f"t/{n}" for n in range(100)])
    return rig, lambda: rig.burst(chunk, frames)


def overlap() -> tuple[Rig, Callable[[], None]]:
    """50 subscribers with #, t/+ and t/0 each, bursts of 50 over 10 topics."""
    rig = Rig()
    for _ in range(50):
        rig.join(Sink(), "#", "t/+", "t/0")
    chunk, frames = chunk_of([f"t/{n % 10}" for n in range(50)])
    return rig, lambda: rig.burst(chunk, frames)


def made_frames() -> tuple[Rig, Callable[[], None]]:
    """100 subscribers of another kind of frame, bursts of 50: one message object each."""
    rig = Rig()
    for _ in range(100):
        rig.join(Sink(), "a", raw="m5")
    chunk, frames = chunk_of(["a"] * 50)
    return rig, lambda: rig.burst(chunk, frames)


def one_push() -> tuple[Rig, Callable[[], None]]:
    """50 times `push` of a ready message to one group with its raw frame."""
    rig = Rig()
    rig.join(Sink(), "a")
    path = rig.ingress.path(b"a")
    message = Message.direct(b"a", PAYLOAD, path.destination)
    frame = b"\x30a" + PAYLOAD

    def run() -> None:
        push, source = rig.ingress.push, rig.source
        for _ in range(50):
            push(path, message, source, frame)
        rig.end_tick()

    return rig, run


def _entries(count: int) -> list[Entry]:
    image = encode_record(b"\x80", version=4096, last_seq=1)
    return [
        Entry(
            seq=n,
            kind=Kind.PUT,
            flags=0,
            delete_reason=DeleteReason.NONE,
            slot=SLOT,
            node=0,
            local_ms=1,
            version=4096,
            prev_seq=0,
            index=0,
            key=encode_key(str(n % 100)),
            image=image,
        )
        for n in range(1, count + 1)
    ]


def log_entries() -> tuple[Rig, Callable[[], None]]:
    """1,000 log entries of 100 records to 100 subscribers of the table."""
    rig = Rig()
    for _ in range(100):
        rig.join(Sink(), "Sensor/#")
    return rig, _delivering(rig, _entries(1000))


def idle_entries() -> tuple[Rig, Callable[[], None]]:
    """1,000 log entries of a table nobody listens to (entries passed over, not frames)."""
    rig = Rig()
    rig.join(Sink(), "Other/#")
    return rig, _delivering(rig, _entries(1000))


def _delivering(rig: Rig, entries: Sequence[Entry]) -> Callable[[], None]:
    def run() -> None:
        deliver = rig.hub.deliver
        for entry in entries:
            deliver(entry)
        rig.end_tick()

    return run


class Cable:
    """A link between two hubs in this process: bytes arrive at the end of the tick."""

    waiting_bytes = 0

    def begin(
        self,
        on_data: Callable[[bytes], None],
        on_drained: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.on_data = on_data
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def read_waiting(self) -> None:
        """Nothing waits: what was sent is handed over by hand."""

    def take(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent

    def close(self) -> None:
        self.sent = []


def _mqtt_frame(topic: bytes) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + PAYLOAD
    return bytes((0x30, len(body))) + body


class Pair:
    """Two workers: a subscriber of everything on the second, publishers on the first."""

    def __init__(self, topics: int, per_burst: int) -> None:
        self.near, self.far = Rig(), Rig()
        self.out, self.back = Cable(), Cable()
        self.near.hub.peers.attach_link(1, self.out)
        self.far.hub.peers.attach_link(0, self.back)
        self.far.hub.peers.read_raw("m4", partial(feed, 4))
        self.far.join(Sink(), "#")
        names = [b"t/%d" % (n % topics) for n in range(per_burst)]
        self.topics = names
        self.frames = b"".join(map(_mqtt_frame, names))
        self.transfer()
        self.pushed = Message.direct(b"t/0", PAYLOAD, self.near.ingress.path(b"t/0").destination)

    def transfer(self) -> None:
        """Let each side know what the other wants."""
        for _ in range(3):
            self.far.end_tick()
            self.near.end_tick()
            for data in self.back.take():
                self.out.on_data(data)
            for data in self.out.take():
                self.back.on_data(data)

    def forward_run(self) -> None:
        feed(4, self.near.ingress, self.frames)
        self.near.end_tick()

    def forward_packed(self) -> None:
        ingress = self.near.hub.ingress(Root(), "rest")
        path, source = ingress.path(b"t/0"), self.near.source
        for _ in self.topics:
            ingress.push(path, self.pushed, source)
        self.near.end_tick()


def forwarded_run() -> tuple[Rig, Callable[[], None]]:
    """Sender's side: bursts of 50 frames over 10 topics that another worker wants."""
    pair = Pair(10, 50)

    def run() -> None:
        pair.forward_run()
        pair.out.sent.clear()

    return pair.near, run


def forwarded_messages() -> tuple[Rig, Callable[[], None]]:
    """Sender's side: 50 messages that are packed one by one."""
    pair = Pair(1, 50)

    def run() -> None:
        pair.forward_packed()
        pair.out.sent.clear()

    return pair.near, run


def received_run() -> tuple[Rig, Callable[[], None]]:
    """Receiver's side of the first: 50 frames over 10 topics to one subscriber of #."""
    pair = Pair(10, 50)
    pair.forward_run()
    return pair.far, _receiving(pair)


def received_messages() -> tuple[Rig, Callable[[], None]]:
    """Receiver's side of packed messages: 50 to one subscriber of #."""
    pair = Pair(1, 50)
    pair.forward_packed()
    return pair.far, _receiving(pair)


def _receiving(pair: Pair) -> Callable[[], None]:
    """Take the last batch again and again; what introduces its lane is in it."""
    (data,) = pair.out.take()

    def run() -> None:
        pair.back.on_data(data)
        pair.far.end_tick()

    return run


CASES: dict[str, tuple[Callable[[], tuple[Rig, Callable[[], None]]], int]] = {
    "one to one": (one_to_one, 50),
    "fan-out 100": (fan_out, 50),
    "1,000 topics, t/+": (thousand_topics_wildcard, 1000),
    "1,000 topics, exact": (thousand_topics_exact, 1000),
    "100 x one to one": (hundred_subscribers, 1000),
    "dashboard on #": (dashboard, 100),
    "overlap": (overlap, 50),
    "made frames": (made_frames, 50),
    "push": (one_push, 50),
    "log entries": (log_entries, 1000),
    "log entries, idle": (idle_entries, 1000),
    "forwarded run": (forwarded_run, 50),
    "forwarded packed": (forwarded_messages, 50),
    "received run": (received_run, 50),
    "received packed": (received_messages, 50),
}


def measure(name: str, seconds: float) -> str:
    """Run one case and return its line."""
    make, per_burst = CASES[name]
    rig, run = make()
    run()
    before = sum(sink.frames for sink in rig.sinks)
    bursts = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        run()
        bursts += 1
    pushed = bursts * per_burst
    delivered = sum(sink.frames for sink in rig.sinks) - before
    return (
        f"{name:20} {pushed / spent / 1e6:8.2f} M pushed/s {delivered / spent / 1e6:9.2f} M"
        f" delivered/s {spent / pushed * 1e9:8.0f} ns a push"
    )


def profile(name: str) -> None:
    """Print where one case spends its time."""
    make, _ = CASES[name]
    _, run = make()
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(500):
        run()
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast delivery is without sockets")
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
