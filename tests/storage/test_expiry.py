"""Records that are gone: hidden at once, removed in steps, with their reason in the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lyredb.storage.check import check
from lyredb.storage.deadline import LATEST_MS, deadline_ms
from lyredb.storage.expiry import BATCH_RECORDS, Expiry
from lyredb.storage.keys import encode_full_key, encode_key
from lyredb.storage.layout import IndexLayout, IndexSource, TableLayout
from lyredb.storage.mutation import DeleteReason, Kind, Mutation
from lyredb.storage.record import decode_header, pack_body
from tests.storage.store import SLOT, ManualClock, Store, patch, put

TABLE = TableLayout(
    SLOT,
    "data.T",
    indexes=(IndexLayout(16, (), IndexSource.EXPIRES),),
    expiration_ms=10_000,
    expires_from="until",
)


class Expiring(Store):
    """A store whose clock is moved by the test, and what removes from it."""

    def __init__(self, path: Path, table: TableLayout = TABLE) -> None:
        self.time = ManualClock()
        super().__init__(path, clock=self.time, table=table)
        self.expiry = Expiry(self.engine, self.writer, offset_ms=lambda _: 0)
        self.expiry.tick()

    def pass_ms(self, ms: int) -> None:
        """Let time pass, and all be removed that is due then."""
        self.time.ms += ms
        self.expiry.tick()
        self.run()

    def stored_keys(self) -> list[bytes]:
        with self.engine.snapshot() as snapshot:
            return [key for key, _ in snapshot.scan_stored(SLOT)]

    def deadline(self, key: str) -> int:
        with self.engine.snapshot() as snapshot:
            stored = snapshot.stored(SLOT, encode_key(key))
        assert stored is not None
        return decode_header(stored).expires_ms


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Expiring]:
    made = Expiring(tmp_path)
    yield made
    assert check(made.engine) == []
    made.close()


def test_a_deadline_counts_from_the_last_write(store: Expiring) -> None:
    store.commit(put("a", x=1))
    assert store.deadline("a") == store.time.ms + 10_000
    store.time.ms += 9_000
    store.commit(patch("a", x=2))
    assert store.deadline("a") == store.time.ms + 10_000


def test_the_attribute_overrides_the_table_in_both_directions(store: Expiring) -> None:
    now = store.time.ms
    store.commit(put("soon", until=now + 5), put("late", until=float(now + 10**9)))
    store.commit(put("date", until=datetime(2100, 1, 1, tzinfo=UTC)), put("null", until=None))
    assert store.deadline("soon") == now + 5
    assert store.deadline("late") == now + 10**9
    assert store.deadline("date") == 4_102_444_800_000
    assert store.deadline("null") == now + 10_000
    store.commit(patch("late", x=1))
    assert store.deadline("late") == now + 10**9
    store.commit(patch("late", until=None))
    assert store.deadline("late") == now + 10_000


def test_a_write_that_says_its_deadline_has_it(store: Expiring) -> None:
    """A retained message with an expiry."""
    now = store.time.ms
    store.commit(
        Mutation(SLOT, encode_key("a"), Kind.PUT, pack_body({"until": 1}), expires_ms=now + 7)
    )
    assert store.deadline("a") == now + 7
    with store.engine.snapshot() as snapshot:
        assert [entry.expires_ms for entry in snapshot.entries(0)] == [now + 7]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, 1), (-5, 1), (1e300, LATEST_MS), (10**200, LATEST_MS), (True, 10_100), ("x", 10_100),
        ([1], 10_100), (99.9, 99),
    ],
)  # fmt: skip
def test_what_is_no_time_counts_as_absent(value: object, wanted: int) -> None:
    """Rows of before are not validated again, so anything may be there."""
    body = pack_body({"a": 1, "until": value})
    mutation = Mutation(SLOT, b"k", Kind.PUT, body)
    assert deadline_ms(TABLE, mutation, None, body, 100) == wanted


def test_a_record_is_hidden_at_its_deadline_and_removed_after_it(store: Expiring) -> None:
    store.commit(put("a", x=1), put("b", x=1))
    store.pass_ms(9_999)
    assert store.record("a") == {"x": 1}
    store.time.ms += 1
    assert store.record("a") is None
    assert len(store.stored_keys()) == 2
    store.pass_ms(1_000)
    assert store.stored_keys() == []
    with store.engine.snapshot() as snapshot:
        last = snapshot.entries(2)
    assert [(entry.kind, entry.delete_reason) for entry in last] == [
        (Kind.DELETE, DeleteReason.EXPIRED)
    ] * 2
    assert store.expiry.statistics().expired == 2


def test_what_is_written_again_is_a_new_record_and_stays(store: Expiring) -> None:
    """Between its deadline and the removal, which was decided before and comes after."""
    first = store.commit(put("a", x=1)).outcomes[0].version
    store.time.ms += 10_500
    assert store.expiry.tick()  # the removal waits in the bulk lane
    reply = store.submit(put("a", x=2))
    store.run()
    assert len(reply) == 1
    assert store.record("a") == {"x": 2}
    with store.engine.snapshot() as snapshot:
        header = decode_header(snapshot.get(SLOT, encode_key("a")) or b"")
    assert header.created == header.version > first
    store.pass_ms(1_000)
    assert store.record("a") == {"x": 2}


def test_a_patch_after_the_deadline_makes_a_new_record(store: Expiring) -> None:
    store.commit(put("a", x=1, y=1))
    store.time.ms += 10_000
    store.commit(patch("a", x=2))
    assert store.record("a") == {"x": 2}


def test_many_are_removed_in_transactions_of_bounded_size(store: Expiring) -> None:
    """And who writes meanwhile waits for one of them at most."""
    count = 5 * BATCH_RECORDS + 1
    store.commit(*(put(f"k{number:05d}", x=1) for number in range(count)))
    store.time.ms += 11_000
    assert store.expiry.tick()
    groups = 0
    while store.ticks:
        reply = store.submit(put("other", x=groups, until=store.time.ms + 10**9))
        store.ticks.pop(0)()
        groups += 1
        assert reply, "no write waits for a second group"
        if len(store.stored_keys()) == 1:
            break
    assert groups >= 6
    with store.engine.snapshot() as snapshot:
        entries = [entry for entry in snapshot.entries(count) if entry.kind is Kind.DELETE]
    assert len(entries) == count
    assert max(entry.index for entry in entries) == BATCH_RECORDS - 1


def test_eviction_keeps_what_is_gone_for_its_time(tmp_path: Path) -> None:
    """Hidden, and then removed with another reason."""
    store = Expiring(tmp_path, replace(TABLE, eviction_ms=60_000))
    store.commit(put("a", x=1))
    store.pass_ms(15_000)
    assert store.record("a") is None
    assert len(store.stored_keys()) == 1
    store.pass_ms(56_000)
    assert store.stored_keys() == []
    with store.engine.snapshot() as snapshot:
        assert snapshot.entries(1)[0].delete_reason is DeleteReason.EVICTED
    assert store.expiry.statistics().evicted == 1
    store.close()


def test_runs_come_round_with_the_clock_on_the_wall(tmp_path: Path) -> None:
    """A quarter of an hour: at :00, :15, :30 and :45, whenever the server was started."""
    quarter = 900_000
    store = Expiring(tmp_path, replace(TABLE, scan_interval_ms=quarter))
    store.commit(put("a", x=1))
    left = quarter - store.time.ms % quarter
    assert left > 11_000
    store.pass_ms(left - 1)
    assert len(store.stored_keys()) == 1
    store.pass_ms(1)
    assert store.stored_keys() == []
    store.close()


def test_records_with_long_keys_go_too(store: Expiring) -> None:
    """Their full key is in the log."""
    long = "k" * 900
    key, full_id = encode_key(long), encode_full_key(long)
    store.commit(Mutation(SLOT, key, Kind.PUT, pack_body({"x": 1}), full_id=full_id))
    store.pass_ms(12_000)
    assert store.stored_keys() == []
    with store.engine.snapshot() as snapshot:
        assert snapshot.entries(1)[0].full_id == full_id


def test_a_clock_that_is_set_back_brings_records_back_and_ends_the_run(store: Expiring) -> None:
    store.commit(put("a", x=1))
    store.time.ms += 11_000
    assert store.expiry.tick()
    store.time.ms -= 5_000
    store.run()
    assert store.record("a") == {"x": 1}
    assert store.expiry.statistics().tables == 0


def test_a_nearly_full_disk_lets_removals_through(tmp_path: Path) -> None:
    """They make room."""
    store = Expiring(tmp_path)
    store.commit(put("a", x=1))
    store.engine._space._free_bytes_of = lambda _: 0
    store.engine.settings = replace(store.engine.settings, min_free_bytes=1)
    store.engine._space._settings = store.engine.settings
    store.pass_ms(12_000)
    assert store.stored_keys() == []
    store.close()


def test_without_a_deadline_a_record_is_not_in_the_index(tmp_path: Path) -> None:
    store = Expiring(tmp_path, replace(TABLE, expiration_ms=0))
    store.commit(put("a", x=1), put("b", until=store.time.ms + 5))
    with store.engine.snapshot() as snapshot:
        assert [key for _, key in snapshot.scan_index(16)] == [encode_key("b")]
    store.pass_ms(1_000)
    assert store.stored_keys() == [encode_key("a")]
    assert check(store.engine) == []
    store.close()
