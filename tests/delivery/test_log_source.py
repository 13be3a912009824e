"""What the log got after a position, found by the records that were touched or by the table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery import log_source
from lyredb.delivery.log_source import concerns, entries_in, touched_keys
from lyredb.storage.engine import Engine
from lyredb.storage.frontier import KeyRange
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import TableLayout
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import pack_body
from lyredb.storage.writer import Writer

SLOT = 16
NAMES = ["a/1", "a/2", "a/3", "b/1", "b/2", ""]
KINDS = [Kind.PUT, Kind.DELETE, Kind.MESSAGE]
RANGES = [
    [KeyRange(SLOT)],
    [KeyRange(SLOT, encode_key("a/"), encode_key("b/"))],
    [KeyRange(SLOT, encode_key("b/1"), encode_key("b/1") + b"\x00")],
    [
        KeyRange(SLOT, encode_key("a/1"), encode_key("a/1") + b"\x00"),
        KeyRange(SLOT, encode_key("b/"), encode_key("c/")),
    ],
]


class Store:
    """An engine with one table, written at once."""

    def __init__(self, path: Path) -> None:
        self.engine = Engine.open(path)
        self.engine.define_table(TableLayout(SLOT, "data.T"))
        self.writer = Writer(self.engine, call_soon=lambda _: None)

    def write(self, name: str, kind: Kind) -> None:
        key = encode_key(name) if name else b""
        if kind is not Kind.MESSAGE and not name:
            kind = Kind.MESSAGE  # the root topic has messages alone
        body = b"" if kind is Kind.DELETE else pack_body({"n": 1})
        self.writer.submit([Mutation(SLOT, key, kind, body)], lambda _: None)
        self.writer.commit_now()


@contextmanager
def opened() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "data")
        try:
            yield store
        finally:
            store.engine.close()


@settings(max_examples=60, deadline=None)
@given(
    writes=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(KINDS)), max_size=25),
    ranges=st.sampled_from(RANGES),
    after=st.integers(0, 25),
    reverse=st.booleans(),
)
def test_touched_records_have_all_entries_of_a_range(
    writes: list[tuple[str, Kind]], ranges: list[KeyRange], after: int, reverse: bool
) -> None:
    """The same as reading the whole log, puts, deletes, messages and the root topic's."""
    with opened() as store:
        for name, kind in writes:
            store.write(name, kind)
        with store.engine.snapshot() as snapshot:
            upto = snapshot.position
            after = min(after, upto)
            found = entries_in(snapshot, ranges, after, upto, reverse=reverse)
            wanted = [one.seq for one in snapshot.entries(after) if concerns(ranges, one)]
            got = [one.seq for one in found if concerns(ranges, one)]
        assert got == (wanted[::-1] if reverse else wanted)


def test_records_that_others_touch_cost_nothing() -> None:
    """A device among thousands wakes without reading what the others have written."""
    with opened() as store:
        store.write("a/1", Kind.MESSAGE)
        before = store.engine.position
        for _ in range(5):
            store.write("b/1", Kind.MESSAGE)
        store.write("a/2", Kind.PUT)
        with store.engine.snapshot() as snapshot:
            assert touched_keys(snapshot, SLOT, RANGES[1], before) == [encode_key("a/2")]
            found = list(entries_in(snapshot, RANGES[1], before, snapshot.position))
        assert [one.key for one in found] == [encode_key("a/2")]


@pytest.mark.parametrize("limit", ["MAX_LOOKED_AT", "MAX_TOUCHED"])
def test_a_range_of_many_records_is_read_by_the_table(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Looking at each of a million records would cost more than the entries."""
    monkeypatch.setattr(log_source, limit, 2)
    with opened() as store:
        for name in ("a/1", "a/2", "a/3", "b/1"):
            store.write(name, Kind.PUT)
        with store.engine.snapshot() as snapshot:
            assert touched_keys(snapshot, SLOT, RANGES[1], 0) is None
            found = entries_in(snapshot, RANGES[1], 0, snapshot.position)
            assert [one.key for one in found if concerns(RANGES[1], one)] == [
                encode_key(name) for name in ("a/1", "a/2", "a/3")
            ]
