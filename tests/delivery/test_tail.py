"""The tail: every entry, in order, once, whatever pokes it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lyredb.delivery import tail as tails
from lyredb.delivery.hub import Hub
from lyredb.delivery.tail import Tail
from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.keys import encode_key
from lyredb.storage.metadata import encode_metadata
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.settings import StorageSettings
from tests.delivery.workers import Wire, wires
from tests.delivery.world import LineEncoding, Reader, SensorTable, World, terms
from tests.storage.store import SLOT, Store, message, put


class Followed:
    """A store with a hub behind its tail."""

    def __init__(
        self,
        path: Path,
        settings: StorageSettings | None = None,
        step_entries: int = tails.STEP_ENTRIES,
    ) -> None:
        self.store = Store(path, settings=settings) if settings else Store(path)
        self.ticks: list[Callable[[], None]] = []
        self.world = World()
        self.hub = Hub(
            self.world,
            self.world,
            {SLOT: SensorTable()},
            schedule_flush=self.ticks.append,
            call_later=self.world.call_later,
        )
        self.tail = Tail(
            self.store.engine, self.hub, schedule=self.ticks.append, step_entries=step_entries
        )
        self.reader = Reader()
        messages = LineEncoding(takes_messages=True)
        self.hub.join("Sensor/#", self.reader, terms(encoding=messages))

    def follow(self) -> None:
        self.store.writer.on_commit(self.tail.poke)

    def run(self) -> None:
        self.store.run()
        while self.ticks:
            self.ticks.pop(0)()

    @property
    def told(self) -> list[int]:
        return [message.seq for message in self.reader.messages]


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Followed]:
    one = Followed(tmp_path / "data")
    yield one
    one.store.close()


def test_each_commit_is_told_once_and_in_order(followed: Followed) -> None:
    followed.follow()
    first = followed.store.engine.position
    for number in range(5):
        followed.store.submit(put(f"k{number}", value=number), put("k", value=number))
        if number % 2:
            followed.run()
    followed.run()
    assert followed.told == list(range(first + 1, first + 11))
    assert followed.tail.position == followed.store.engine.position


def test_advancing_delivers_all_before_it_returns(followed: Followed) -> None:
    """A subscription joins where the tail stands."""
    for number in range(3):
        followed.store.commit(put(f"k{number}"))
    end = followed.store.engine.position
    followed.tail.advance_to(end - 1)
    followed.hub.flush()
    assert followed.told[-1] == followed.tail.position == end - 1
    followed.tail.advance_to(end)
    followed.tail.advance_to(end)
    followed.hub.flush()
    assert followed.told == list(range(end - 2, end + 1))


def test_a_late_or_double_poke_tells_nothing_twice(followed: Followed) -> None:
    followed.store.commit(put("a"))
    position = followed.store.engine.position
    for _ in range(3):
        followed.tail.poke(position)
    followed.run()
    followed.tail.poke(position)
    followed.tail.poke(1)
    followed.run()
    assert followed.told == [position]


def test_one_tick_has_bounded_work(tmp_path: Path) -> None:
    """A long log does not keep connections waiting."""
    followed = Followed(tmp_path / "data", step_entries=2)
    for number in range(5):
        followed.store.commit(put(f"k{number}"))
    followed.tail.poke(followed.store.engine.position)
    followed.ticks.pop(0)()
    followed.hub.flush()
    assert len(followed.told) == 2
    followed.run()
    assert len(followed.told) == 5
    followed.store.close()


def test_handlers_run_before_any_later_entry_is_told(followed: Followed) -> None:
    """What an access change takes away is not told after it, even within a group."""
    seen: list[int] = []

    def revoke(entry: Entry) -> None:
        seen.append(entry.seq)
        followed.hub.leave("Sensor/#", followed.reader)

    followed.tail.on(Kind.ACCESS, revoke)
    followed.store.submit(put("before"))
    followed.store.submit(Mutation(0, b"role", Kind.ACCESS, b"change"))
    followed.store.submit(put("after"))
    followed.store.run()
    followed.tail.advance_to(followed.store.engine.position)
    assert [message.id for message in followed.reader.messages] == ["before"]
    assert len(seen) == 1


def test_an_entry_that_cannot_be_delivered_is_logged_and_the_next_is_told(
    followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [RuntimeError("broken")]

    def fail_once(entry: Entry) -> None:
        if failures:
            raise failures.pop()

    followed.tail.on(Kind.PUT, fail_once)
    followed.store.commit(put("a"))
    followed.store.commit(put("b"))
    with caplog.at_level(logging.ERROR):
        followed.tail.advance_to(followed.store.engine.position)
    followed.hub.flush()
    assert [message.id for message in followed.reader.messages] == ["b"]
    assert "could not be delivered" in caplog.text


def test_what_nobody_wants_passes_without_being_decoded(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still counts as told, and lets go what waited for it."""

    def refuse(seq: int, stored: bytes) -> Entry:
        raise AssertionError(f"entry {seq} is decoded")

    monkeypatch.setattr(tails, "decode_entry", refuse)
    followed.hub.leave("Sensor/#", followed.reader)
    write = put("a")
    followed.hub.hold(SLOT, write.key)
    seq = followed.store.commit(write).outcomes[0].seq
    followed.hub.release(SLOT, write.key, seq)
    assert followed.hub.statistics().holds == 1
    followed.tail.advance_to(seq)
    assert (followed.tail.position, followed.hub.position) == (seq, seq)
    assert followed.hub.statistics().holds == 0


def test_subscribers_are_ended_when_the_log_was_trimmed_before_it_was_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They come back for current state: nobody misses events in silence."""
    settings = StorageSettings(
        map_size=1 << 28, min_free_bytes=0, segment_bytes=1, retention_bytes=1
    )
    followed = Followed(tmp_path / "data", settings)
    for number in range(12):
        followed.store.commit(put("a", value=number))
    assert followed.store.engine.floor > followed.tail.position + 1
    with caplog.at_level(logging.ERROR):
        followed.tail.advance_to(followed.store.engine.position)
    assert isinstance(followed.reader.closed[0], PositionLost)
    assert followed.tail.position == followed.store.engine.position
    followed.store.close()


def test_a_poke_after_the_engine_was_closed_does_nothing(followed: Followed) -> None:
    followed.store.commit(put("a"))
    followed.tail.poke(followed.store.engine.position)
    followed.store.engine.close()
    followed.run()
    assert followed.told == []


def test_a_write_is_told_after_what_another_worker_published_before_it(
    followed: Followed,
) -> None:
    """The message is on its way in a socket when the log is read already.

    The reader of this worker gets both in the order of their publisher, although one
    comes from the other worker and one from the log.
    """
    followed.follow()
    other = joined_to(followed)
    other.send("Sensor/k", "before")
    other.hub.flush_to_peers()
    followed.store.submit(put("k"))
    followed.run()
    assert [message.kind for message in followed.reader.messages] == ["message", "put"]


def test_what_a_peer_sends_may_be_younger_than_the_snapshot_of_a_step(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch demands an entry that was committed after the step began; nothing is lost by it."""
    other = joined_to(followed)
    followed.store.commit(put("k1"))
    read_waiting = Wire.read_waiting

    def commit_and_read(wire: Wire) -> None:
        followed.store.commit(put("k2"))
        other.hub.position = followed.store.engine.position
        other.send("Sensor/k", "after both")
        other.hub.flush_to_peers()
        read_waiting(wire)

    with monkeypatch.context() as patched:
        patched.setattr(Wire, "read_waiting", commit_and_read)
        followed.tail.poke(followed.store.engine.position)
        followed.run()
    followed.store.commit(put("k3"))
    followed.tail.poke(followed.store.engine.position)
    followed.run()
    assert followed.reader.closed == []
    kinds = [message.kind for message in followed.reader.messages]
    assert kinds == ["put", "put", "message", "put"]


def joined_to(followed: Followed) -> World:
    """Another worker that knows what is wanted here."""
    other = World()
    here, there = wires()
    followed.hub.peers.attach_link(2, here)
    other.hub.peers.attach_link(1, there)
    for _ in range(3):
        followed.run()
        other.tick()
        here.arrive()
        there.arrive()
    return other


def test_handlers_of_a_table_run_before_any_later_entry_is_told(followed: Followed) -> None:
    """Whatever its entries are, and only for those of this table."""
    seen: list[int] = []

    def note(entry: Entry) -> None:
        seen.append(entry.seq)
        followed.hub.flush()
        assert followed.told == [one for one in (1, 2) if one < entry.seq]

    followed.tail.on_slot(SLOT, note)
    followed.store.submit(put("a"))
    followed.store.submit(message("b", b"x"))
    followed.store.submit(Mutation(0, b"role", Kind.ACCESS, b"change"))
    followed.store.run()
    followed.tail.advance_to(followed.store.engine.position)
    assert seen == [1, 2]


def test_a_message_is_the_same_when_its_record_is_known_already(followed: Followed) -> None:
    """The second one of a topic is told from its bytes, without all that an entry has."""
    fields = (
        *("topic", "kind", "table", "id", "qos", "retain", "current", "content_type"),
        *("properties", "expires_ms", "session", "reason", "is_opaque", "data"),
    )
    metadata = encode_metadata(content_type="text/plain", properties=b"\x01\x01")
    sent = Mutation(
        SLOT,
        encode_key("a"),
        Kind.MESSAGE,
        b"payload",
        metadata=metadata,
        expires_ms=1 << 50,
        retain=True,
        qos=2,
        user="anna",
        session=7,
    )
    for _ in range(2):
        followed.store.commit(sent)
    followed.tail.advance_to(followed.store.engine.position)
    followed.hub.flush()
    first, second = followed.reader.messages
    assert [getattr(first, name) for name in fields] == [getattr(second, name) for name in fields]
    assert (first.position, second.position) == (
        f"{followed.hub.log_id}.1",
        f"{followed.hub.log_id}.2",
    )
    assert (first.qos, first.session, first.content_type) == (2, 7, "text/plain")
    assert (second.seq, second.version > first.version) == (2, True)


def test_whoever_follows_a_table_hears_of_entries_that_it_has_not_seen(tmp_path: Path) -> None:
    """Else it would go on with what they changed, in silence."""
    settings = StorageSettings(
        map_size=1 << 28, min_free_bytes=0, segment_bytes=1, retention_bytes=1
    )
    one = Followed(tmp_path / "data", settings)
    skipped: list[int] = []
    one.tail.on_skip(lambda: skipped.append(one.tail.position))
    for number in range(50):
        one.store.commit(put(f"k{number}"))
        one.store.writer.maintain()
    while one.store.writer.maintain():
        pass
    one.tail.advance_to(one.store.engine.position)
    assert skipped == [one.store.engine.position]
    one.store.close()
