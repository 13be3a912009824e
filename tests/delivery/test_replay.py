"""Replays: exactly what was committed after a time, or the last entries, then the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lyredb.delivery.cursor import CatchUp
from lyredb.delivery.message import Message
from lyredb.delivery.replay import ReplayStart
from lyredb.errors import PositionLost
from lyredb.storage.directory import RING_SEGMENTS
from lyredb.storage.frontier import KeyRange
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Kind, Mutation
from tests.delivery.test_cursor import WHOLE, Names, all_of
from tests.storage.store import ROOMY, SLOT, SMALL, ManualClock, Store, delete, message, put

ONE = [KeyRange(SLOT, encode_key("a"), encode_key("a") + b"\0")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


def replay(
    store: Store,
    topic_filter: str = "Sensor/#",
    ranges: list[KeyRange] = WHOLE,
    *,
    after_ms: int | None = None,
    count: int = 0,
) -> CatchUp:
    start = ReplayStart(after_ms, count)
    return CatchUp.replay(store.engine, Names(), topic_filter, ranges, start)


def clock_of(store: Store) -> ManualClock:
    assert isinstance(store.clock, ManualClock)
    return store.clock


def seqs(messages: list[Message]) -> list[int]:
    return [one.seq for one in messages]


def test_the_time_is_exclusive(store: Store) -> None:
    """So that a client goes on with the ``localTime`` of the last event that it has."""
    clock = clock_of(store)
    for _ in range(4):
        store.commit(put("a"))
        clock.ms += 10
    begun = clock.ms - 40
    assert seqs(all_of(replay(store, after_ms=begun - 1))) == [1, 2, 3, 4]
    assert seqs(all_of(replay(store, after_ms=begun))) == [2, 3, 4]
    assert seqs(all_of(replay(store, after_ms=begun + 9))) == [2, 3, 4]
    assert seqs(all_of(replay(store, after_ms=begun + 30))) == []
    assert not any(one.current for one in all_of(replay(store, after_ms=0)))


def test_what_is_committed_while_it_is_told_comes_behind_it(store: Store) -> None:
    """Also when its clock says that it was before the time: it was not there yet."""
    clock = clock_of(store)
    store.commit(put("a"))
    clock.ms += 1
    store.commit(put("b"))
    reading = replay(store, after_ms=clock.ms - 1)
    assert seqs(reading.step(1)) == [2]
    clock.ms -= 1000
    store.commit(put("c"))
    assert seqs(all_of(reading)) == [3]
    assert reading.position == store.engine.position


def test_the_last_entries_are_those_that_the_filter_matches(store: Store) -> None:
    for key in ("a", "x/1", "b", "x/2", "hidden", "x/1"):
        store.commit(put(key))
    store.commit(delete("x/2"), message("x/3"), Mutation(0, b"role", Kind.ACCESS, b"change"))
    found = all_of(replay(store, "Sensor/x/+", count=3))
    assert [(one.kind, one.id) for one in found] == [
        ("put", "x/1"),
        ("delete", "x/2"),
        ("message", "x/3"),
    ]
    assert len(all_of(replay(store, "Sensor/x/+", count=1000))) == 5
    assert all_of(replay(store, "Sensor/nothing", count=5)) == []


def test_the_last_entries_of_a_record_may_have_to_be_after_a_time(store: Store) -> None:
    clock = clock_of(store)
    for _ in range(5):
        store.commit(put("a"), put("b"))
        clock.ms += 10
    assert seqs(all_of(replay(store, "Sensor/a", ONE, after_ms=clock.ms - 31, count=2))) == [7, 9]
    assert seqs(all_of(replay(store, "Sensor/a", ONE, after_ms=clock.ms - 11, count=2))) == [9]


def test_a_message_past_its_expiry_does_not_count(store: Store) -> None:
    """It is not told [MQTT-3.3.2-5], so it would be missing from the last ones."""
    store.commit(put("a"))
    store.commit(replace(message("a"), expires_ms=clock_of(store).ms + 1000))
    clock_of(store).ms += 2000
    assert seqs(all_of(replay(store, count=1))) == [1]


def test_looking_back_is_done_in_steps(store: Store) -> None:
    """A filter may match few of a long log: each step looks at a bounded part."""
    store.commit(put("x/1"))
    store.commit(*(put("a") for _ in range(1000)))
    reading = replay(store, "Sensor/x/+", count=1)
    steps = 0
    while not reading.done:
        steps += 1
        found = reading.step()
        assert found == [] or steps > 5
    assert steps > 5


def test_a_time_that_the_log_does_not_reach_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path, settings=SMALL)
    clock = clock_of(store)
    begun = clock.ms
    for _ in range(RING_SEGMENTS + 10):
        store.commit(put("b"))
        clock.ms += 10
    floor = store.engine.floor
    assert floor > 1
    with pytest.raises(PositionLost):
        replay(store, after_ms=begun + (floor - 3) * 10)
    with pytest.raises(PositionLost):
        replay(store, after_ms=0)
    reached = all_of(replay(store, after_ms=begun + (floor - 1) * 10))
    assert seqs(reached) == [*range(floor + 1, store.engine.position + 1)]
    store.close()


def test_the_last_entries_are_lost_when_the_log_has_none_of_them(tmp_path: Path) -> None:
    """Then current state has to be told; of what never was there is nothing to lose."""
    store = Store(tmp_path, settings=SMALL)
    store.commit(put("a"))
    for _ in range(RING_SEGMENTS + 10):
        store.commit(put("b"))
    with pytest.raises(PositionLost):
        all_of(replay(store, "Sensor/a", ONE, count=3))
    never = [KeyRange(SLOT, encode_key("n"), encode_key("n") + b"\0")]
    assert all_of(replay(store, "Sensor/n", never, count=3)) == []
    assert len(all_of(replay(store, count=1000))) == store.engine.position - store.engine.floor + 1
    store.close()


KEYS = ("a", "b", "x/1", "x/2")
writes = st.lists(
    st.tuples(
        st.sampled_from(KEYS),
        st.sampled_from((put, delete, message)),
        st.sampled_from((0, 0, 1, 7, -5)),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(
    writes=writes,
    topic_filter=st.sampled_from(("Sensor/#", "Sensor/+", "Sensor/x/#", "Sensor/a")),
    ago_ms=st.integers(-5, 40),
    count=st.integers(1, 12),
    restarts=st.booleans(),
    is_small=st.booleans(),
)
def test_a_replay_equals_the_entries_of_a_model(
    writes: list[tuple[str, object, int]],
    topic_filter: str,
    ago_ms: int,
    count: int,
    *,
    restarts: bool,
    is_small: bool,
) -> None:
    """Whatever the clock does, in written indexes and in memory, before and after a restart."""
    with TemporaryDirectory() as folder:
        storage = SMALL if is_small else ROOMY
        store = Store(Path(folder) / "data", settings=storage)
        clock = clock_of(store)
        entries: list[tuple[int, int]] = []  # of what the filter matches: position, time
        for key, write, wait_ms in writes:
            clock.ms += wait_ms
            before = store.engine.position
            store.commit(write(key))  # type: ignore[operator]  # one of three functions
            has_changed = store.engine.position > before  # a delete of nothing does not
            if has_changed and _matches(topic_filter, key):
                entries.append((store.engine.position, clock.ms))
        after_ms = clock.ms - ago_ms
        if restarts:
            store.close()
            store = Store(Path(folder) / "data", settings=storage, clock=clock)
        whole = ONE if topic_filter == "Sensor/a" else WHOLE
        timed = all_of(replay(store, topic_filter, whole, after_ms=after_ms))
        assert seqs(timed) == [seq for seq, at_ms in entries if at_ms > after_ms]
        last = all_of(replay(store, topic_filter, whole, count=count))
        assert seqs(last) == [seq for seq, _ in entries][-count:]
        store.close()


def _matches(topic_filter: str, key: str) -> bool:
    match topic_filter:
        case "Sensor/+":
            return "/" not in key
        case "Sensor/x/#":
            return key.startswith("x/")
        case "Sensor/a":
            return key == "a"
    return True
