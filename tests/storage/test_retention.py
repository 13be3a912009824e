from __future__ import annotations

import itertools
import sys
from array import array
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from lyredb.errors import PositionLost
from lyredb.storage import logx as log_index_memory
from lyredb.storage.check import check
from lyredb.storage.directory import RING_SEGMENTS
from lyredb.storage.keys import encode_key
from lyredb.storage.meta import Segment
from lyredb.storage.mutation import Kind, Mutation
from tests.storage.store import (
    ROOMY,
    SLOT,
    SMALL,
    ManualClock,
    Store,
    delete,
    fill,
    message,
    put,
)


def test_a_full_ring_loses_its_oldest_segment(tmp_path: Path) -> None:
    """Over several turns: no gap, no database more, and whoever is behind is told."""
    store = Store(tmp_path, settings=SMALL)
    for number in range(3 * RING_SEGMENTS):
        store.commit(put(f"k{number % 7}", value=number))
    assert store.engine.floor == store.engine.position + 1 - (RING_SEGMENTS - 1)
    assert check(store.engine) == []
    with store.engine.snapshot() as snapshot:
        kept = snapshot.entries(store.engine.floor - 1)
        assert [entry.seq for entry in kept] == list(
            range(store.engine.floor, store.engine.position + 1)
        )
        for lost in (0, store.engine.floor - 2, store.engine.position + 1):
            with pytest.raises(PositionLost):
                snapshot.entries(lost)
    store.close()


def test_positions_and_versions_survive_an_empty_log(tmp_path: Path) -> None:
    """What was given out is never given out again, also when all entries are gone."""
    settings = replace(ROOMY, segment_s=10, retention_age_s=20)
    store = Store(tmp_path, settings=settings)
    assert isinstance(store.clock, ManualClock)
    last = store.commit(put("a", value=1))
    store.clock.ms += 60_000
    while store.writer.maintain():
        pass
    assert store.engine.floor == 2
    store.clock.ms -= 120_000
    store.close()
    store = Store(tmp_path, settings=settings, clock=store.clock)
    following = store.commit(put("a", value=2))
    assert following.position == 2
    assert following.outcomes[0].version > last.outcomes[0].version
    assert check(store.engine) == []
    store.close()


def test_segments_are_dropped_by_age_of_their_last_entry(tmp_path: Path) -> None:
    """An entry stays at least as long as promised."""
    store = Store(tmp_path, settings=replace(ROOMY, segment_s=10, retention_age_s=100))
    assert isinstance(store.clock, ManualClock)
    for number in range(30):
        store.commit(put("a", value=number))
        store.clock.ms += 10_000
    oldest = 30 - (store.engine.floor - 1)
    assert 10 <= oldest <= 12
    assert check(store.engine) == []
    store.close()


def test_segments_are_dropped_by_size(tmp_path: Path) -> None:
    """The newest always stays."""
    store = Store(tmp_path, settings=replace(SMALL, retention_bytes=5 * 4096))
    for number in range(20):
        store.commit(put("a", value=number))
    assert 14 <= store.engine.floor <= 18
    store.commit(*(put("a", value="x" * 5000) for _ in range(30)))
    assert store.engine.position == 50
    assert check(store.engine) == []
    store.close()


def test_a_time_is_found_as_a_position(tmp_path: Path) -> None:
    """Everything after it happened at or after the time, everything up to it before."""
    store = Store(tmp_path, settings=SMALL)
    assert isinstance(store.clock, ManualClock)
    begun = store.clock.ms
    for number in range(20):
        store.commit(put("a", value=number), put("b", value=number))
        store.clock.ms += 1000
    assert store.engine.position_at(begun) == 0
    assert store.engine.position_at(begun + 1) == 2
    assert store.engine.position_at(begun + 5000) == 10
    assert store.engine.position_at(begun + 10**9) == 40
    assert store.engine.position_at(0) == 0
    store.close()


def test_graves_below_the_floor_are_purged(tmp_path: Path) -> None:
    """Of deleted records and of messages alike; those above it stay."""
    store = Store(tmp_path, settings=SMALL)
    fill(store, "ab", value=1)
    store.commit(delete("a"))
    store.commit(message("m"))
    fill(store, ["x"] * (RING_SEGMENTS + 5), value=1)
    store.commit(delete("b"))
    store.run()
    with store.engine.snapshot() as snapshot:
        assert [key for key, _ in snapshot.scan_graves(SLOT)] == [encode_key("b")]
    assert check(store.engine) == []
    store.close()


@pytest.mark.parametrize("restarts", [False, True])
def test_entries_of_a_key_and_of_a_table_are_found(tmp_path: Path, *, restarts: bool) -> None:
    """In written indexes, in memory, and after a restart that has neither yet."""
    store = Store(tmp_path, settings=SMALL)
    for number in range(40):
        store.commit(put(f"k{number % 3}", value=number), message(f"m{number % 2}"))
    if restarts:
        store.close()
        store = Store(tmp_path, settings=SMALL)
        store.writer.maintain()
    with store.engine.snapshot() as snapshot:
        assert sum(segment.indexed for segment in snapshot.directory) > 30
        everything = snapshot.entries(0)
        key = encode_key("k1")
        for after, upto in ((0, 80), (7, 31), (79, 80), (80, 80)):
            found = list(snapshot.entries_of(SLOT, key, after, upto))
            assert found == [
                entry for entry in everything if entry.key == key and after < entry.seq <= upto
            ]
            assert list(snapshot.entries_of(SLOT, None, after, upto)) == everything[after:upto]
            back = snapshot.entries_of(SLOT, key, after, upto, reverse=True)
            assert list(back) == found[::-1]
            back = snapshot.entries_of(SLOT, None, after, upto, reverse=True)
            assert list(back) == everything[after:upto][::-1]
        assert list(snapshot.entries_of(99, None, 0, 80)) == []
    store.close()


def test_what_memory_lacks_after_a_restart_is_read_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has just begun serves others between them; none is needed after the last."""
    store = Store(tmp_path)
    fill(store, "abcab", value=1)
    store.close()
    store = Store(tmp_path)
    monkeypatch.setattr(log_index_memory, "_READ", 2)
    with store.engine.snapshot() as snapshot:
        assert [snapshot.catch_up_index() for _ in range(4)] == [False, False, True, True]
        assert list(snapshot.positions_of(SLOT, encode_key("a"), 0, 9)) == [1, 4]
    store.close()


def test_two_neighbours_do_not_make_a_key_of_their_halves() -> None:
    """Hashes are searched for in bytes; only a whole one counts."""
    wanted = log_index_memory.address_hash(SLOT, b"k")
    number = int.from_bytes(wanted, "big").to_bytes(8, sys.byteorder)
    halves = array("Q", bytes(4) + number[:4] + number[4:] + bytes(4) + number)
    index = log_index_memory.SegmentIndex(Segment(1, 1, 0))
    index._hashes[wanted[0]] = halves
    index._offsets[wanted[0]] = array("I", [5, 6, 7])
    assert list(index.of_key(SLOT, b"k")) == [7]
    assert list(index.of_key(SLOT, b"k", reverse=True)) == [7]


class Sliced(array):  # type: ignore[type-arg]
    """Counts what is looked at."""

    looked_at = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            self.looked_at += len(range(*index.indices(len(self))))
        return super().__getitem__(index)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_step_of_one_topics_backlog_does_not_look_at_all_of_it(
    monkeypatch: pytest.MonkeyPatch, reverse: bool
) -> None:
    """A device that slept for a million messages of one topic reads them 200 at a time."""
    monkeypatch.setattr(log_index_memory, "_PIECE", 64)
    index = log_index_memory.SegmentIndex(Segment(1, 1, 0))
    index.add([(SLOT, b"k")] * 10_000)
    bucket = log_index_memory.address_hash(SLOT, b"k")[0]
    index._hashes[bucket] = hashes = Sliced("Q", index._hashes[bucket].tobytes())
    bounds = (5_000, 9_000)
    first = list(islice(index.of_key(SLOT, b"k", bounds, reverse=reverse), 20))
    assert first == (list(range(9_000, 8_980, -1)) if reverse else list(range(5_000, 5_020)))
    assert hashes.looked_at <= 64


def test_an_index_finds_keys_whose_hashes_it_has_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Topics are written again and again, so hashes are remembered; but only so many."""
    monkeypatch.setattr(log_index_memory, "_MAX_KNOWN", 3)
    index = log_index_memory.SegmentIndex(Segment(1, 1, 0))
    keys = [b"k%d" % (number % 10) for number in range(40)]
    for begin in range(0, 40, 5):
        index.add([(SLOT, key) for key in keys[begin : begin + 5]])
    assert len(index._known) <= 3 + 5
    for key in set(keys):
        places = [at for at, one in enumerate(keys) if one == key]
        assert list(index.of_key(SLOT, key)) == places
        low, high = len(keys) // 4, len(keys) // 2
        between = [at for at in places if low <= at <= high]
        assert list(index.of_key(SLOT, key, (low, high))) == between
        assert list(index.of_key(SLOT, key, (low, high), reverse=True)) == between[::-1]


def test_memory_of_the_open_segment_is_whole_after_a_restart(tmp_path: Path) -> None:
    """What was logged before is read once, what is logged after is not put in its place."""
    store = Store(tmp_path)
    fill(store, "aba", value=1)
    store.close()
    store = Store(tmp_path)
    fill(store, "bb", value=2)
    with store.engine.snapshot() as snapshot:
        for name, seqs in (("a", [1, 3]), ("b", [2, 4, 5])):
            found = snapshot.entries_of(SLOT, encode_key(name), 0, 9)
            assert [entry.seq for entry in found] == seqs
    fill(store, "a", value=3)
    with store.engine.snapshot() as snapshot:
        assert len(list(snapshot.entries_of(SLOT, None, 0, 9))) == 6
    store.close()


def test_an_index_of_many_entries_is_written_in_chunks_and_steps(tmp_path: Path) -> None:
    """A hot key has more offsets than a row may hold."""
    store = Store(tmp_path, settings=SMALL)
    store.commit(*(put("hot", value=number) for number in range(2500)))
    for _ in range(9):
        store.commit(*(put(f"{number}") for number in range(1000)))
    with store.engine.snapshot() as snapshot:
        assert snapshot.directory[0].indexed
        rows = list(snapshot.scan_logx(0, b"", None))
        assert max(len(row) for _, row in rows) <= 4096
        hot = encode_key("hot")
        for key, after, upto in itertools.product((hot, None), (0, 999, 1000, 1234), (1000, 2300)):
            found = list(snapshot.entries_of(SLOT, key, after, upto))
            assert [entry.seq for entry in found] == [*range(after + 1, upto + 1)]
            back = snapshot.entries_of(SLOT, key, after, upto, reverse=True)
            assert list(back) == found[::-1]
    assert check(store.engine) == []
    store.close()


def test_schema_and_access_entries_are_in_the_log_and_no_table(store: Store) -> None:
    """A schema change is a meta row and a log entry of one commit."""
    store.commit(Mutation(0, b"data.T", Kind.SCHEMA, b"declaration"), put("a", value=1))
    store.commit(Mutation(0, b"user", Kind.ACCESS, b"changed"))
    assert store.engine.list_meta("data.") == {"data.T": b"declaration"}
    with store.engine.snapshot() as snapshot:
        kinds = [(entry.kind, entry.payload) for entry in snapshot.entries(0)]
    assert kinds == [(Kind.SCHEMA, b"declaration"), (Kind.PUT, b""), (Kind.ACCESS, b"changed")]
    store.commit(Mutation(0, b"data.T", Kind.SCHEMA))
    assert store.engine.list_meta("data.") == {}
    assert check(store.engine) == []
