"""Where the log has entries of a range, found by the records that were touched or the table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.delivery import finding
from lyredb.delivery.finding import Finder, Searches, concerns
from lyredb.storage.engine import Engine
from lyredb.storage.entry import Entry
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

    def found(
        self, finder: Finder, after: int, upto: int | None = None, *, reverse: bool = False
    ) -> list[Entry]:
        """Everything that a finder gives, others of the table included."""
        while True:
            with self.engine.snapshot() as snapshot:
                if finder.step(snapshot, after):
                    last = snapshot.position if upto is None else upto
                    return list(finder.entries(snapshot, after, last, reverse=reverse))

    def wanted(self, ranges: list[KeyRange], after: int) -> list[int]:
        """Positions of all entries of ranges, by reading the whole log."""
        with self.engine.snapshot() as snapshot:
            return [one.seq for one in snapshot.entries(after) if concerns(ranges, one)]


def seqs(entries: list[Entry], ranges: list[KeyRange]) -> list[int]:
    return [one.seq for one in entries if concerns(ranges, one)]


def keys(entries: list[Entry]) -> list[bytes]:
    return [one.key for one in entries]


@contextmanager
def opened() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "data")
        try:
            yield store
        finally:
            store.engine.close()


@settings(max_examples=100)
@given(
    writes=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(KINDS)), max_size=25),
    meanwhile=st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(KINDS)), max_size=8),
    ranges=st.sampled_from(RANGES),
    after=st.integers(0, 25),
    reverse=st.booleans(),
    page=st.integers(1, 4),
    is_brief=st.booleans(),
)
def test_all_entries_of_a_range_are_found(
    writes: list[tuple[str, Kind]],
    meanwhile: list[tuple[str, Kind]],
    ranges: list[KeyRange],
    after: int,
    reverse: bool,
    page: int,
    is_brief: bool,
) -> None:
    """The same as reading the whole log: puts, deletes, messages and the root topic's.

    Also when records come, go and come back between the steps of the search.
    """
    with pytest.MonkeyPatch.context() as patch, opened() as store:
        for limit in ("PAGE", "KEYS"):
            patch.setattr(finding, limit, page)
        for name, kind in writes:
            store.write(name, kind)
        after = min(after, store.engine.position)
        finder = Finder(ranges, lambda *_: True, is_brief=is_brief)
        for name, kind in meanwhile:
            with store.engine.snapshot() as snapshot:
                finder.step(snapshot, after)
            store.write(name, kind)
        wanted = store.wanted(ranges, after)
        got = seqs(store.found(finder, after, reverse=reverse), ranges)
        assert got == (wanted[::-1] if reverse else wanted)


def test_records_that_others_touch_cost_nothing() -> None:
    """A device among thousands wakes without reading what the others have written."""
    with opened() as store:
        store.write("a/1", Kind.MESSAGE)
        before = store.engine.position
        for _ in range(5):
            store.write("b/1", Kind.MESSAGE)
        store.write("a/2", Kind.PUT)
        assert keys(store.found(Finder(RANGES[1]), before)) == [encode_key("a/2")]


def test_only_records_that_count_are_looked_up() -> None:
    """A filter with a wildcard in its middle finds its few messages among all of a table."""
    with opened() as store:
        for name in ("a/1", "b/1", "a/2", "b/2"):
            store.write(name, Kind.MESSAGE)
        finder = Finder(RANGES[0], lambda slot, key, stored: key == encode_key("b/1"))
        assert keys(store.found(finder, 0)) == [encode_key("b/1")]


@pytest.mark.parametrize("limit", ["MAX_TOUCHED", "MAX_FOUND"])
def test_many_are_read_by_the_table(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Finding each of a million entries would cost more than reading them."""
    monkeypatch.setattr(finding, limit, 1)
    with opened() as store:
        for name in ("a/1", "b/1", "a/2", "a/2", "a/3"):
            store.write(name, Kind.PUT)
        found = store.found(Finder(RANGES[1]), 0)
        assert encode_key("b/1") in keys(found)
        assert seqs(found, RANGES[1]) == store.wanted(RANGES[1], 0)


def test_many_records_are_not_looked_at_for_few_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that got one entry since costs that entry, however many records it has."""
    monkeypatch.setattr(finding, "PAGE", 2)
    with opened() as store:
        for number in range(60):
            store.write(f"a/{number:02}", Kind.PUT)
        before = store.engine.position
        store.write("b/1", Kind.PUT)
        finder = Finder(RANGES[1])
        with store.engine.snapshot() as snapshot:
            assert finder.step(snapshot, before)
        assert keys(store.found(finder, before)) == [encode_key("b/1")]


def looked_at(monkeypatch: pytest.MonkeyPatch, store: Store, finder: Finder, after: int) -> int:
    """How many steps a finder takes with one record in each."""
    monkeypatch.setattr(finding, "PAGE", 1)
    for steps in range(1, 100):
        with store.engine.snapshot() as snapshot:
            if finder.step(snapshot, after):
                return steps
    raise AssertionError("it never came to an end")


def test_equal_filters_share_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand that wake at once cost one search; what came since is found besides."""
    monkeypatch.setattr(finding, "CHEAPER", 1)
    with opened() as store:
        for name in ("a/1", "a/2", "a/3", "b/1") * 3:
            store.write(name, Kind.PUT)
        searches = Searches()

        def finder(filter: str = "T/a/#") -> Finder:
            return Finder(RANGES[1], filter=filter, searches=searches)

        assert looked_at(monkeypatch, store, finder(), 1) > 1
        store.write("a/3", Kind.DELETE)
        again = finder()
        assert looked_at(monkeypatch, store, again, 2) == 1
        assert seqs(store.found(again, 2), RANGES[1]) == store.wanted(RANGES[1], 2)
        assert looked_at(monkeypatch, store, finder("T/+/1"), 2) > 1
        searches.forget()
        assert looked_at(monkeypatch, store, finder(), 2) > 1


def test_a_search_is_not_shared_by_who_wants_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who slept longer than the one before searches again; so does who wakes much later."""
    monkeypatch.setattr(finding, "CHEAPER", 1)
    with opened() as store:
        for name in ("a/1", "a/2", "a/3", "b/1") * 3:
            store.write(name, Kind.PUT)
        searches = Searches()

        def finder() -> Finder:
            return Finder(RANGES[1], filter="T/a/#", searches=searches)

        assert looked_at(monkeypatch, store, finder(), 4) > 1
        longer = finder()
        assert looked_at(monkeypatch, store, longer, 1) > 1
        assert seqs(store.found(longer, 1), RANGES[1]) == store.wanted(RANGES[1], 1)
        monkeypatch.setattr(finding, "RECENT", 0)
        store.write("a/1", Kind.PUT)
        assert looked_at(monkeypatch, store, finder(), 1) > 1
