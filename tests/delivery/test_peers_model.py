"""Workers against a model: whatever the interleaving, what is promised arrives, once, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery.filters import matches, parse_filter
from tests.delivery.workers import RAW_KIND, Node
from tests.delivery.world import LineEncoding, Reader

WORKERS = 3
FILTERS = ["#", "a/#", "a/+", "a/b", "b", "Sensor/1"]
TOPICS = ["a/b", "a/c", "b", "Sensor/1"]
ENCODINGS = [LineEncoding("line", raw=RAW_KIND), LineEncoding("line")]
WORKER = st.integers(0, WORKERS - 1)
READER = st.integers(0, 2 * WORKERS - 1)
LINK = st.tuples(WORKER, WORKER).filter(lambda link: link[0] != link[1])

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), READER, st.sampled_from(FILTERS)),
        st.tuples(st.just("leave"), READER, st.sampled_from(FILTERS)),
        st.tuples(st.just("send"), WORKER, st.sampled_from(TOPICS), st.integers(0, 2)),
        st.tuples(st.just("send"), WORKER, st.sampled_from(TOPICS), st.integers(0, 2)),
        st.tuples(st.just("tick"), WORKER),
        st.tuples(st.just("tick"), WORKER),
        st.tuples(st.just("arrive"), LINK, st.sampled_from([1, 7, 30, None, None])),
        st.tuples(st.just("arrive"), LINK, st.sampled_from([1, 7, 30, None, None])),
        st.tuples(st.just("write"), WORKER),
        st.tuples(st.just("settle")),
        st.tuples(st.just("settle")),
        st.tuples(st.just("settle")),
        st.tuples(st.just("reattach"), LINK),
        st.tuples(st.just("detach"), LINK),
    ),
    max_size=60,
)


@dataclass(eq=False)
class Modelled:
    """A reader: its filters, which of them every other worker knows, what it must get."""

    worker: int
    encoding: LineEncoding
    reader: Reader = field(default_factory=Reader)
    filters: dict[str, object] = field(default_factory=dict)
    known: dict[str, object] = field(default_factory=dict)
    owed: dict[int, int] = field(default_factory=dict)
    got: list[tuple[int, int]] = field(default_factory=list)

    def wants(self, topic: str, filters: dict[str, object]) -> bool:
        return any(matches(parse_filter(one), topic.encode()) for one in filters)


class Machine:
    """Runs actions on workers and on the model."""

    def __init__(self) -> None:
        self.node = Node(WORKERS).attach_all()
        self.node.settle()
        self.readers = [
            Modelled(number % WORKERS, ENCODINGS[number // WORKERS])
            for number in range(2 * WORKERS)
        ]
        for one in self.readers:
            one.reader.on_write = lambda one=one: self.check(one)
        self.number = 0

    def join(self, who: int, filter: str) -> None:
        one = self.readers[who]
        if filter not in one.filters:
            one.filters[filter] = object()
            self.node.workers[one.worker].join(filter, one.reader, encoding=one.encoding, qos=1)
            self.ask(one, filter)

    def ask(self, one: Modelled, filter: str) -> None:
        """Note when the filter is known, unless it was left meanwhile."""
        asked = one.filters[filter] = object()

        def known() -> None:
            if one.filters.get(filter) is asked:
                one.known[filter] = asked

        self.node.workers[one.worker].peers.when_known(known)

    def leave(self, who: int, filter: str) -> None:
        one = self.readers[who]
        if one.filters.pop(filter, None) is not None:
            self.node.workers[one.worker].hub.leave(filter, one.reader)
            one.known.pop(filter, None)
            one.owed.clear()

    def send(self, worker: int, topic: str, how: int) -> None:
        self.number += 1
        sender = self.node.workers[worker]
        payload = f"{self.number}.{worker}.{sender.hub.position}"
        for one in self.readers:
            is_attached = one.worker == worker or (one.worker, worker) in self.node.wires
            filters = one.filters if one.worker == worker else one.known
            if is_attached and one.wants(topic, filters):
                one.owed[self.number] = worker
        if how < 2:
            sender.send_raw(topic, payload, qos=how)
        else:
            sender.send(topic, payload)

    def check(self, one: Modelled) -> None:
        """Look at what has come: in order of its sender, never before what it followed."""
        position = self.node.workers[one.worker].hub.position
        for line in one.reader.batches[-1].data.splitlines():
            _, topic, payload, *_ = line.split(b" ")
            if payload.startswith(b"{"):
                continue  # a record
            number, worker, after = map(int, payload.split(b"."))
            assert one.wants(topic.decode(), one.filters), "nobody asked for it"
            assert number not in [got for got, _ in one.got], "it came twice"
            assert all(got < number for got, sender in one.got if sender == worker), "out of order"
            assert position >= after, "it came before a write that it followed"
            one.got.append((number, worker))
            one.owed.pop(number, None)

    def tick(self, worker: int) -> None:
        self.node.workers[worker].tick()

    def arrive(self, link: tuple[int, int], size: int | None) -> None:
        if link in self.node.wires:
            self.node.wires[link].arrive(size)

    def write(self, worker: int) -> None:
        self.node.workers[worker].advance_to(self.node.write("1", {}))

    def settle(self) -> None:
        self.node.settle()
        assert not any(one.owed for one in self.readers), "something that was promised is lost"

    def detach(self, link: tuple[int, int]) -> None:
        """Both sides learn of it; what was under way between them is lost."""
        for here, there in (link, link[::-1]):
            self.node.workers[here].peers.detach(there)
            self.node.wires.pop((here, there), None)
            for one in self.readers:
                if one.worker == here:
                    one.owed = {n: worker for n, worker in one.owed.items() if worker != there}

    def reattach(self, link: tuple[int, int]) -> None:
        self.detach(link)
        self.node.attach(*link)
        for one in self.readers:
            if one.worker in link:
                one.known.clear()
                for filter in one.filters:
                    self.ask(one, filter)


@settings(max_examples=150)
@given(ACTIONS)
def test_what_is_promised_arrives_once_and_in_order(actions: list[tuple[object, ...]]) -> None:
    """Every reader of a filter that is known gets each message; any reader at most once."""
    machine = Machine()
    for name, *arguments in actions:
        getattr(machine, str(name))(*arguments)
    machine.settle()
    for one in machine.readers:
        for filter in list(one.filters):
            machine.leave(machine.readers.index(one), filter)
    machine.settle()
    for worker in machine.node.workers:
        assert worker.peers.statistics().wishes == 0
