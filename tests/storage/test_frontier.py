from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.frontier import Frontier, FrontierScan, KeyRange, Row, Step
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import TableLayout
from lyredb.storage.mutation import Kind, Mutation
from tests.storage.store import ROOMY, SLOT, SMALL, Store, body_of, delete, fill, message, put

OTHER = 17
names = st.sampled_from("abcdefgh")
writes = st.lists(st.tuples(st.sampled_from(["put", "delete", "message"]), names), max_size=4)
schedules = st.lists(st.tuples(writes, st.integers(1, 200), st.booleans()), min_size=1, max_size=12)
bounds = st.sampled_from([("a", "z"), ("b", "f"), ("c", "c")])


class Follower:
    """A subscriber's view: what it was told, and that nothing was told twice."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.seqs: list[int] = []
        self.rows: list[bytes] = []
        self.changed: set[bytes] = set()
        self.messages = 0

    def take(self, step: Step) -> None:
        for item in step.items:
            if isinstance(item, Row):
                assert item.key not in self.rows, "a record came twice"
                assert item.key not in self.changed, "a change came before its record"
                self.rows.append(item.key)
                self.records[item.key] = item.stored
            else:
                self.take_entry(item)

    def take_entry(self, entry: Entry) -> None:
        assert not self.seqs or entry.seq > self.seqs[-1], "an entry came twice or late"
        self.seqs.append(entry.seq)
        if entry.changes_record:
            self.changed.add(entry.key)
        if entry.kind is Kind.PUT:
            known = self.records.get(entry.key, bytes(16))
            assert known[:8] < entry.image[:8], "an old image came after a newer one"
            self.records[entry.key] = entry.image
        elif entry.kind is Kind.MESSAGE:
            self.messages += 1
        else:
            self.records.pop(entry.key, None)


def write(store: Store, transaction: list[tuple[str, str]], number: int) -> None:
    made = {
        "put": lambda name: put(name, value=number),
        "delete": lambda name: delete(name),
        "message": lambda name: message(name),
    }
    for kind, name in transaction:
        store.commit(made[kind](name))


def bodies(records: dict[bytes, bytes]) -> dict[bytes, object]:
    return {key: body_of(stored) for key, stored in records.items()}


@settings(max_examples=60)
@given(writes, schedules, bounds)
def test_state_and_changes_are_the_records_whatever_is_written_meanwhile(
    before: list[tuple[str, str]],
    schedule: list[tuple[list[tuple[str, str]], int, bool]],
    limits: tuple[str, str],
) -> None:
    """Exact at every end, through resumes, for records; no message is lost or doubled."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), settings=SMALL)
        write(store, [("put", name) for name in "acegh"] + before, 0)
        wanted = KeyRange(SLOT, encode_key(limits[0]), encode_key(limits[1]))
        scan, follower, begun = FrontierScan(store.engine, [wanted]), Follower(), -1
        resume: Frontier | None = None
        for number, (transaction, size, restart) in enumerate(schedule, 1):
            step = scan.step(size, 1000)
            follower.take(step)
            resume = step.frontier
            begun = resume.position if begun < 0 else begun
            write(store, transaction, number)
            if restart and not step.done:
                scan = FrontierScan(store.engine, [wanted], resume)
        while not (step := scan.step(1, 1000)).done:
            follower.take(step)
        follower.take(step)
        with store.engine.snapshot() as snapshot:
            expected = dict(snapshot.scan(SLOT, wanted.start, wanted.stop))
            told = [entry for entry in snapshot.entries(begun) if entry.kind is Kind.MESSAGE]
            assert step.frontier.position == snapshot.position
        assert bodies(follower.records) == bodies(expected)
        assert follower.messages == sum(wanted.contains(entry.slot, entry.key) for entry in told)
        store.close()


def test_ranges_over_tables_are_given_in_order(store: Store) -> None:
    """Several tables and several ranges of one are one scan with one position."""
    store.engine.define_table(TableLayout(OTHER, "data.Other"))
    for name in "abcd":
        store.commit(put(name, value=1), Mutation(OTHER, encode_key(name), Kind.PUT, b"\x80"))
    ranges = [
        KeyRange(OTHER, stop=encode_key("b")),
        KeyRange(SLOT, encode_key("c")),
        KeyRange(SLOT, stop=encode_key("b")),
    ]
    scan = FrontierScan(store.engine, ranges)
    found = []
    while not scan.done:
        found += [item[:2] for item in scan.step(1).items if isinstance(item, Row)]
    assert found == [
        (SLOT, encode_key("a")),
        (SLOT, encode_key("c")),
        (SLOT, encode_key("d")),
        (OTHER, encode_key("a")),
    ]


def test_no_record_is_given_before_all_entries_behind_the_frontier(tmp_path: Path) -> None:
    """More entries than one step reads would otherwise be overtaken by newer records."""
    store = Store(tmp_path, settings=ROOMY)
    fill(store, "ab", value=0)
    scan = FrontierScan(store.engine, [KeyRange(SLOT)])
    assert [item.key for item in scan.step(1).items] == [encode_key("a")]
    store.commit(*(put("a", value=number) for number in range(2500)))
    first = scan.step()
    assert all(isinstance(item, Entry) for item in first.items)
    assert len(first.items) == 2000
    second = scan.step()
    assert [type(item) for item in second.items] == [Entry] * 500 + [Row]
    store.close()


def test_a_step_has_few_records_however_small(store: Store) -> None:
    """What is done with each costs more than to read it: others wait for their number."""
    fill(store, [f"k{number}" for number in range(25)])
    scan = FrontierScan(store.engine, [KeyRange(SLOT)])
    sizes = []
    while not scan.done:
        sizes.append(len(scan.step(max_records=10).items))
    assert sizes == [10, 10, 5]


def test_a_scan_that_falls_below_the_floor_is_told(tmp_path: Path) -> None:
    """Never silence: the reader begins again."""
    store = Store(tmp_path, settings=SMALL)
    fill(store, "ab", value=0)
    scan = FrontierScan(store.engine, [KeyRange(SLOT)])
    scan.step(1)
    for number in range(80):
        store.commit(put("z", value=number))
    assert store.engine.floor > 3
    with pytest.raises(PositionLost):
        scan.step()
    store.close()
