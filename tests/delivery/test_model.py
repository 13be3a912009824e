"""The hub against a brute-force model: who gets what, once, in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery.filters import matches, parse_filter
from lyredb.delivery.outbox import LONE_TICKS
from tests.delivery.world import LineEncoding, Publisher, Reader, Someone, World, put, terms

FILTERS = ["#", "+/#", "Sensor/#", "Sensor/+", "Sensor/1", "Sensor/2", "a", "a/+", "a/b", "+"]
TOPICS = ["Sensor/1", "Sensor/2", "Sensor/3", "a", "a/b", "a/c", "$x", "b"]
ENCODINGS = [
    LineEncoding("raw", raw="m4"),
    LineEncoding("other", raw="m5"),
    LineEncoding("plain"),
]
PRINCIPALS = [Someone("reader"), Someone("limited")]
DENIED = {("limited", b"a/b"), ("limited", b"Sensor/2")}

SUBSCRIBERS = st.integers(0, 8)
JOIN = st.tuples(
    st.just("join"),
    SUBSCRIBERS,
    st.sampled_from(FILTERS),
    st.sampled_from([0, 0, 1, 2]),
    st.sampled_from([(), (), (), (1,), (2, 5)]),
    st.sampled_from([0, 0, 0, 7]),
    st.sampled_from([False, False, False, True]),
)
LEAVE = st.tuples(st.just("leave"), SUBSCRIBERS, st.sampled_from(FILTERS))
SEND = st.tuples(
    st.just("send"),
    st.sampled_from(TOPICS),
    st.integers(0, 2),
    st.sampled_from([0, 7, 8]),
    st.sampled_from(["", "m4", "m5"]),
    st.booleans(),
)
PUT = st.tuples(st.just("put"), st.integers(1, 3), st.sampled_from([0, 7]))
TICK = st.just(("tick",))
ACTIONS = st.lists(st.one_of(JOIN, SEND, SEND, SEND, PUT, LEAVE, TICK), max_size=60)


@dataclass
class Modelled:
    """A subscriber as the model keeps it: its filters, and the frames it must get."""

    encoding: LineEncoding
    principal: Someone
    reader: Reader = field(default_factory=Reader)
    filters: dict[str, tuple[int, tuple[int, ...], int, bool]] = field(default_factory=dict)
    expected: list[tuple[bytes, bytes, int, set[int]]] = field(default_factory=list)

    def expect(self, topic: str, payload: bytes, qos: int, session: int, logged: bool) -> None:
        if (self.principal.name, topic.encode()) in DENIED:
            return
        found = [
            (limit, ids)
            for name, (limit, ids, no_local, scanning) in self.filters.items()
            if matches(parse_filter(name), topic.encode())
            and not (no_local and session == no_local)
            and not (scanning and logged)
        ]
        if found:
            highest = max(limit for limit, _ in found)
            ids = {number for _, numbers in found for number in numbers}
            self.expected.append((topic.encode(), payload, min(qos, highest), ids))


def frame_of(line: bytes) -> tuple[bytes, bytes, int, set[int]]:
    """Read a frame of `LineEncoding` back."""
    _, topic, payload, qos, _, *ids = line.split()
    return topic, payload, int(qos[1:]), {int(number) for number in ids if number != b".."}


class Machine:
    """Runs actions on the hub and on the model."""

    def __init__(self) -> None:
        self.world = World()
        self.world.denied = DENIED
        self.subscribers = [
            Modelled(ENCODINGS[n % 3], PRINCIPALS[n // 6], Reader()) for n in range(9)
        ]
        self.number = 0
        self.seq = 0

    def join(
        self, who: int, name: str, qos: int, ids: tuple[int, ...], no_local: int, scanning: bool
    ) -> None:
        one = self.subscribers[who]
        one.filters[name] = (qos, ids, no_local, scanning)
        wanted = terms(
            encoding=one.encoding,
            principal=one.principal,
            qos=qos,
            ids=ids,
            no_local=no_local,
            scanning=scanning,
        )
        self.world.hub.join(name, one.reader, wanted)

    def leave(self, who: int, name: str) -> None:
        one = self.subscribers[who]
        one.filters.pop(name, None)
        self.world.hub.leave(name, one.reader)

    def come_alone(self) -> None:
        """Have as many frames come one at a time as it takes to write the next ones at once."""
        reader, ingress = Reader(), self.world.hub.ingress(Someone("publisher"), "mqtt", "m4")
        self.world.hub.join("Sensor/alone", reader, terms(encoding=ENCODINGS[0]))
        solo = ingress.path(b"Sensor/alone").solo0
        assert solo is not None
        for _ in range(LONE_TICKS):
            ingress.push_lone(solo, b"x\n", None)
            self.world.tick()
        self.world.hub.leave("Sensor/alone", reader)

    def send(self, topic: str, qos: int, session: int, raw_kind: str, is_lone: bool) -> None:
        """Push as a protocol does: a run where there is a solo group, else a message."""
        self.number += 1
        payload = str(self.number)
        wire = {"": "none", "m4": "raw", "m5": "other"}[raw_kind]
        text = f"{wire} {topic} {payload} q{qos} r0".encode()
        raw = text + (b" ..\n" if qos else b"\n")
        raw_id = len(text) + 1 if qos else 0
        ingress = self.world.hub.ingress(Someone("publisher"), "mqtt", raw_kind)
        path = ingress.path(topic.encode())
        solo = (path.solo0, path.solo1, path.solo2)[qos]
        if solo is not None and is_lone and not qos:
            ingress.push_lone(solo, raw, Publisher())
        elif solo is not None:
            before = b"junk"
            borders = ([4 + len(raw)], [4 + raw_id]) if qos else ((), ())
            chunk = before + raw + b"more"
            ingress.push_run(solo, chunk, 4, 4 + len(raw), 1, Publisher(), *borders)
        elif not path.idle:
            self.world.send(
                topic,
                payload,
                qos=qos,
                session=session,
                raw_kind=raw_kind,
                raw=raw if raw_kind else b"",
                raw_id=raw_id,
                principal=Someone("publisher"),
            )
        for one in self.subscribers:
            one.expect(topic, payload.encode(), qos, session, logged=False)

    def put(self, record: int, session: int) -> None:
        self.seq += 1
        self.world.hub.deliver(put(self.seq, str(record), {}, session=session))
        payload = repr({"id": str(record)}).replace(" ", "").encode()
        for one in self.subscribers:
            one.expect(f"Sensor/{record}", payload, 0, session, logged=True)

    def tick(self) -> None:
        self.world.tick()
        self.check()

    def check(self) -> None:
        for one in self.subscribers:
            got = [frame_of(line.replace(b": ", b":")) for line in one.reader.lines]
            assert got == one.expected
            for batch in one.reader.batches:
                check_batch(batch.data, batch.ends, batch.ids, batch.count)


def check_batch(data: bytes, ends: object, ids: object, count: int) -> None:
    """Borders are where frames end, and identifiers where the frames have their place."""
    assert count == data.count(b"\n")
    assert isinstance(ends, (list, tuple))
    assert isinstance(ids, (list, tuple))
    assert bool(ends) == (b"..\n" in data)
    if ends:
        assert list(ends) == [at + 1 for at in range(len(data)) if data[at : at + 1] == b"\n"]
        starts = [0, *ends[:-1]]
        for start, end, place in zip(starts, ends, ids, strict=True):
            assert place == (end - 3 if data[start:end].endswith(b" ..\n") else 0)


@settings(max_examples=300)
@given(ACTIONS, st.booleans())
def test_each_subscriber_gets_one_copy_in_order_whatever_overlaps(
    actions: list[tuple[object, ...]], one_at_a_time: bool
) -> None:
    """Highest QoS, all identifiers, raw or made, at once or in the tick; edits take effect
    where they stand.
    """
    machine = Machine()
    if one_at_a_time:
        machine.come_alone()
    for name, *arguments in actions:
        getattr(machine, str(name))(*arguments)
    machine.tick()
