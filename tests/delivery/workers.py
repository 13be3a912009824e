"""Several hubs as workers of one node, over links that tests turn by hand.

The log is shared: a write is in it at once, and each worker tells it when the test says
so or when a batch demands it, as the tail does over the store.
"""

from __future__ import annotations

from collections.abc import Callable

from lyredb.delivery.hub import Ingress
from lyredb.delivery.message import Message
from lyredb.delivery.peers import DEFAULT_LIMITS, PeerLimits, Peers
from lyredb.storage.entry import Entry
from tests.delivery.world import ROOT, Reader, World, put

RAW_KIND = "line"


class Wire:
    """One end of a connection in memory."""

    def __init__(self, kernel_bytes: int) -> None:
        self.other: Wire
        self.kernel_bytes = kernel_bytes
        self.on_the_way = bytearray()
        self.unsent = bytearray()
        self.is_closed = False

    @property
    def waiting_bytes(self) -> int:
        return len(self.unsent)

    def begin(
        self,
        on_data: Callable[[bytes], None],
        on_drained: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self.on_data = on_data
        self.on_drained = on_drained
        self.on_lost = on_lost

    def send(self, data: bytes) -> None:
        self.unsent += data
        self._fill()

    def _fill(self) -> None:
        room = self.kernel_bytes - len(self.on_the_way)
        self.on_the_way += self.unsent[:room]
        del self.unsent[:room]

    def read_waiting(self) -> None:
        self.other.arrive()

    def close(self) -> None:
        self.is_closed = True

    def arrive(self, size: int | None = None) -> bool:
        """Let bytes that were sent from here arrive; False when there were none."""
        data = bytes(self.on_the_way[:size])
        del self.on_the_way[:size]
        was_waiting = bool(self.unsent)
        self._fill()
        if was_waiting and not self.unsent and not self.is_closed:
            self.on_drained()
        if data and not self.other.is_closed:
            self.other.on_data(data)
        return bool(data)


def wires(kernel_bytes: int = 1 << 30) -> tuple[Wire, Wire]:
    """Both ends of a connection; the kernel holds so much for each direction."""
    one, other = Wire(kernel_bytes), Wire(kernel_bytes)
    one.other, other.other = other, one
    return one, other


class Worker(World):
    """A hub with a tail that follows the shared log."""

    def __init__(
        self,
        node: Node,
        limits: PeerLimits = DEFAULT_LIMITS,
        schedule: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        super().__init__(limits, schedule)
        self.node = node
        self.hub.peers.follow(self.advance_to)
        self.hub.peers.read_raw(RAW_KIND, read_lines)

    @property
    def peers(self) -> Peers:
        return self.hub.peers

    def advance_to(self, position: int) -> None:
        for entry in self.node.log[self.hub.position : position]:
            self.hub.deliver(entry)

    def send_raw(self, topic: str, payload: str, *, qos: int = 0) -> None:
        """Publish as a protocol with raw frames does: a run where there is a solo group."""
        ingress = self.hub.ingress(ROOT, "mqtt", RAW_KIND)
        feed_line(ingress, line(topic, payload, qos), qos)


class Node:
    """Workers that are all attached to each other."""

    def __init__(self, count: int, **limits: int) -> None:
        self.log: list[Entry] = []
        self.workers = [Worker(self, PeerLimits(**limits)) for _ in range(count)]
        self.wires: dict[tuple[int, int], Wire] = {}

    def attach(self, one: int, other: int, kernel_bytes: int = 1 << 30) -> None:
        here, there = wires(kernel_bytes)
        self.wires[one, other], self.wires[other, one] = here, there
        self.workers[one].peers.attach_link(other, here)
        self.workers[other].peers.attach_link(one, there)

    def attach_all(self) -> Node:
        for one in range(len(self.workers)):
            for other in range(one):
                self.attach(one, other)
        return self

    def settle(self) -> None:
        """Tick and transfer until nothing moves any more."""
        moved = True
        while moved:
            moved = False
            for worker in self.workers:
                moved = moved or bool(worker.ticks)
                worker.tick()
            for wire in list(self.wires.values()):
                moved = wire.arrive() or moved

    def write(self, record: str, value: dict[str, object], session: int = 0) -> int:
        """Commit a record; nobody has told it yet."""
        entry = put(len(self.log) + 1, record, value, session=session)
        self.log.append(entry)
        return entry.seq


def line(topic: str, payload: str, qos: int = 0) -> bytes:
    """A frame that `LineEncoding("line", raw="line")` would make."""
    text = f"line {topic} {payload} q{qos} r0".encode()
    return text + (b" ..\n" if qos else b"\n")


def read_lines(ingress: Ingress, frames: bytes) -> int:
    """Feed frames of lines as they came from another worker."""
    for frame in frames.splitlines(keepends=True):
        feed_line(ingress, frame, int(frame.split()[3][1:]))
    return 0


def feed_line(ingress: Ingress, frame: bytes, qos: int) -> None:
    _, topic, payload, *_ = frame.split()
    path = ingress.path(topic)
    solo = (path.solo0, path.solo1, path.solo2)[qos]
    size = len(frame)
    if solo is not None:
        borders = ([size], [size - 3]) if qos else ((), ())
        ingress.push_run(solo, frame, 0, size, 1, None, *borders)
    elif not path.idle:
        message = Message.direct(topic, payload, path.destination, qos=qos, local_ms=1)
        ingress.push(path, message, None, frame, size - 3 if qos else 0)


def told(reader: Reader) -> list[str]:
    """What a reader of lines got: topic and payload."""
    return [" ".join(text.decode().split(" ")[1:3]) for text in reader.lines]
