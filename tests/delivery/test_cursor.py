"""Catching up: snapshot plus events are the records, at every place, after any break."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery.cursor import CatchUp
from lyredb.delivery.log_source import is_void
from lyredb.delivery.message import Message, RecordTable
from lyredb.delivery.position import Position, parse_position
from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.frontier import KeyRange
from lyredb.storage.keys import decode_key, encode_key
from lyredb.storage.layout import TOPIC_SLOT
from lyredb.storage.mutation import DeleteReason, Kind, Mutation
from lyredb.storage.snapshot import Snapshot
from tests.delivery.world import SensorTable
from tests.storage.store import SLOT, SMALL, Store, delete, message, put

WHOLE = [KeyRange(SLOT)]


class Names:
    """Tables and topics; records whose id begins with ``hidden`` have no topic."""

    tables: Mapping[int, RecordTable] = {SLOT: SensorTable()}

    def of(self, slot: int, key: bytes) -> tuple[bytes, ...]:
        text = str(decode_key(key))
        return () if text.startswith("hidden") else (f"Sensor/{text}".encode(),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


def current(store: Store, topic_filter: str = "Sensor/#") -> CatchUp:
    return CatchUp.current(store.engine, Names(), topic_filter, WHOLE)


def resume(
    store: Store, token: str, topic_filter: str = "Sensor/#", ranges: list[KeyRange] = WHOLE
) -> CatchUp:
    return CatchUp.resume(store.engine, Names(), topic_filter, ranges, parse_position(token))


def all_of(reading: CatchUp, max_bytes: int = 1) -> list[Message]:
    messages: list[Message] = []
    while not reading.done:
        messages += reading.step(max_bytes)
    return messages


def test_current_state_is_what_the_filter_matches(store: Store) -> None:
    for key in ("a", "a/b", "b", "hidden"):
        store.commit(put(key, value=1))
    found = all_of(current(store, "Sensor/a/#"))
    assert [one.topic for one in found] == [b"Sensor/a", b"Sensor/a/b"]
    assert all(one.current and one.kind == "put" for one in found)


def test_a_scan_ends_where_the_log_stands(store: Store) -> None:
    store.commit(put("a"))
    reading = current(store)
    all_of(reading)
    assert reading.position == store.engine.position


def test_resuming_tells_exactly_what_came_after(store: Store) -> None:
    store.commit(put("a"))
    token = f"{store.engine.log_id.hex()}.{store.engine.position}"
    store.commit(put("b"), message("a"))
    store.commit(delete("a"))
    store.commit(Mutation(0, b"role", Kind.ACCESS, b"change"))
    found = all_of(resume(store, token))
    assert [(one.kind, one.id) for one in found] == [
        ("put", "b"),
        ("message", "a"),
        ("delete", "a"),
    ]
    assert not any(one.current for one in found)
    assert parse_position(found[-1].position).seq == found[-1].seq


@pytest.mark.parametrize(
    "ranges",
    [
        WHOLE,
        [KeyRange(SLOT, encode_key(key), encode_key(key) + b"\0") for key in ("a", "c")],
    ],
    ids=["by table", "by record"],
)
def test_entries_of_several_sources_come_in_order(store: Store, ranges: list[KeyRange]) -> None:
    """Single records are found by their own index, a table by its."""
    token = f"{store.engine.log_id.hex()}.{store.engine.position}"
    for key in "acbaacb":
        store.commit(put(key))
    found = all_of(resume(store, token, "Sensor/+", ranges))
    wanted = "acaac" if ranges is not WHOLE else "acbaacb"
    assert [one.id for one in found] == list(wanted)


def test_a_wildcard_before_the_end_finds_its_few_among_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the others of the table have got is not read, but their names are compared."""
    token = f"{store.engine.log_id.hex()}.{store.engine.position}"
    for key in ("a/x", "b/y", "hidden/x", "c/x", "b/y"):
        store.commit(put(key))
    read: list[int] = []
    entry = Snapshot.entry

    def noted(snapshot: Snapshot, seq: int) -> Entry | None:
        read.append(seq)
        return entry(snapshot, seq)

    monkeypatch.setattr(Snapshot, "entry", noted)
    found = all_of(resume(store, token, "Sensor/+/x"))
    assert [one.id for one in found] == ["a/x", "c/x"]
    assert read == [1, 4]


def test_a_change_behind_the_frontier_resumes_inside_of_the_scan(store: Store) -> None:
    """Its token does not claim the records that were not told yet."""
    for key in "abc":
        store.commit(put(key))
    reading = current(store)
    assert [one.id for one in reading.step(1)] == ["a"]
    store.commit(put("a"))
    change, *_ = reading.step(1)
    assert (change.id, change.current) == ("a", False)
    assert [one.id for one in all_of(resume(store, change.position))] == ["b", "c"]


def test_a_change_after_the_scan_resumes_in_the_log(store: Store) -> None:
    """Also when the same reading goes on: a scan anew would hide a delete."""
    store.commit(put("a"))
    reading = current(store)
    all_of(reading)
    store.commit(put("e"))
    (change,) = reading.step()
    store.commit(delete("e"))
    found = all_of(resume(store, change.position))
    assert [(one.kind, one.id) for one in found] == [("delete", "e")]


def test_void_messages_are_not_told(store: Store) -> None:
    """[MQTT-3.3.2-5]: a message past its expiry interval is not sent any more."""
    token = f"{store.engine.log_id.hex()}.{store.engine.position}"
    deadline = store.engine.now_ms() + 1000
    key = encode_key("a")
    store.commit(Mutation(SLOT, key, Kind.MESSAGE, b"old", expires_ms=deadline - 1000))
    store.commit(Mutation(SLOT, key, Kind.MESSAGE, b"new", expires_ms=deadline))
    found = all_of(resume(store, token))
    assert [one.value() for one in found] == ["new"]


@pytest.mark.parametrize(
    ("slot", "kind", "is_over"),
    [
        (SLOT, Kind.MESSAGE, True),
        (SLOT, Kind.PUT, False),
        (TOPIC_SLOT, Kind.MESSAGE, True),
        (TOPIC_SLOT, Kind.PUT, True),
    ],
)
def test_retained_messages_of_open_topics_are_over_with_their_interval(
    slot: int, kind: Kind, is_over: bool
) -> None:
    """A broker drops them; what the record of a table was is history."""
    entry = Entry(1, kind, 0, DeleteReason.NONE, slot, 0, 0, 1, 0, 0, b"k", expires_ms=1_000)
    assert is_void(entry, 1_000) == is_over
    assert not is_void(entry, 999)
    assert not is_void(msgspec.structs.replace(entry, expires_ms=0), 1_000)


@pytest.mark.parametrize("seq", [-1, 10**9], ids=["of the future", "far"])
def test_a_position_that_the_log_has_not_is_lost(store: Store, seq: int) -> None:
    after = Position(store.engine.log_id.hex(), store.engine.position + abs(seq))
    with pytest.raises(PositionLost):
        CatchUp.resume(store.engine, Names(), "Sensor/#", WHOLE, after)


def test_a_position_of_another_log_is_lost(store: Store) -> None:
    with pytest.raises(PositionLost):
        CatchUp.resume(store.engine, Names(), "Sensor/#", WHOLE, Position("ff", 0))


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdefg")),
        st.tuples(st.just("delete"), st.sampled_from("abcdefg")),
        st.tuples(st.just("message"), st.sampled_from("abcdefg")),
        st.tuples(st.just("step"), st.integers(1, 120)),
        st.tuples(st.just("break"), st.integers(0, 5)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(st.lists(st.sampled_from("abcdefg"), unique=True), ACTIONS)
def test_state_and_events_are_the_records_whatever_happens_meanwhile(
    before: list[str], actions: list[tuple[str, object]]
) -> None:
    """Writes between the steps, connections lost inside of a step, resumed by token."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder) / "data", settings=SMALL)
        try:
            Reading(store, before).run(actions)
        finally:
            store.close()


class Reading:
    """A reader that may lose its connection after any message, and a writer."""

    def __init__(self, store: Store, before: list[str]) -> None:
        self.store = store
        self.numbers = itertools.count(1)
        self.records: dict[str, object] = {}
        self.seen: dict[str, object] = {}
        self.messages_expected: list[object] = []
        self.messages_seen: list[object] = []
        for key in before:
            self.write("put", key)
        self.catch_up = current(store)
        self.token = ""
        self.is_current = True

    def write(self, name: str, key: str) -> None:
        number = next(self.numbers)
        if name == "put":
            self.store.commit(put(key, value=number))
            self.records[key] = {"id": key, "value": number}
        elif name == "delete":
            self.store.commit(delete(key))
            self.records.pop(key, None)
        else:
            self.store.commit(message(key, b"%d" % number))
            if self.token:
                self.messages_expected.append(str(number))

    def see(self, told: Message) -> None:
        key = str(told.id)
        if told.kind == "put":
            self.seen[key] = told.value()
        elif told.kind == "delete":
            self.seen.pop(key, None)
        else:
            self.messages_seen.append(told.value())
        self.token = told.position

    def run(self, actions: list[tuple[str, object]]) -> None:
        for name, argument in actions:
            if name == "step":
                self.step(int(str(argument)), keep=None)
            elif name == "break":
                self.step(50, keep=int(str(argument)))
            else:
                self.write(name, str(argument))
        end = self.store.engine.position
        while not self.catch_up.done or self.catch_up.position < end:
            self.step(1000, keep=None)
        assert self.seen == self.records
        expected = self.messages_expected
        assert self.messages_seen[len(self.messages_seen) - len(expected) :] == expected

    def step(self, max_bytes: int, keep: int | None) -> None:
        """Read a step; with ``keep`` the connection breaks after so many messages."""
        if self.catch_up.done and keep is None:
            token = f"{self.store.engine.log_id.hex()}.{self.catch_up.position}"
            self.token = token
            self.catch_up = resume(self.store, token)
        for told in self.catch_up.step(max_bytes)[:keep]:
            self.see(told)
        if keep is not None:
            if self.token:
                self.catch_up = resume(self.store, self.token)
            else:
                self.catch_up = current(self.store)
