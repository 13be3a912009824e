from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from lyredb.errors import (
    DiskFull,
    EngineClosed,
    InvalidKey,
    InvalidRecord,
    LyreError,
    Overloaded,
    PreconditionFailed,
    RecordExists,
    RecordTooLarge,
    TransactionTooLarge,
)
from lyredb.storage.check import check
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_full_key, encode_index_value, encode_key, record_key
from lyredb.storage.layout import IntegerBounds, TableLayout
from lyredb.storage.mutation import Applied, DeleteReason, Kind, Mutation, Precondition
from lyredb.storage.record import decode_header, pack_body
from lyredb.storage.session_row import SessionProgress, encode_progress
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer
from tests.storage.store import (
    ROOMY,
    SLOT,
    TABLE,
    VALUE_INDEX,
    ManualClock,
    Store,
    add,
    body_of,
    delete,
    message,
    patch,
    put,
)


def when(mutation: Mutation, **wanted: object) -> Mutation:
    return changed(mutation, precondition=Precondition(**wanted))  # type: ignore[arg-type]


def test_transactions_of_one_tick_are_one_group(store: Store) -> None:
    """One commit serves all that waits; that is where the speed comes from."""
    replies = [store.submit(put(f"k{number}", value=number)) for number in range(50)]
    store.run()
    assert store.writer.statistics().groups == 1
    assert [reply.position for (reply,) in replies if isinstance(reply, Applied)] == list(
        range(1, 51)
    )


def test_replies_come_after_the_commit_in_order_and_before_the_poke(store: Store) -> None:
    """Whoever is told can read what was written; readers are told last."""
    seen: list[object] = []

    def note(label: str) -> None:
        with store.engine.snapshot() as snapshot:
            seen.append((label, snapshot.position))

    store.writer.on_commit(lambda position: seen.append(("poke", position)))
    for label in ("first", "second"):
        store.writer.submit([put(label)], lambda _, label=label: note(label))  # type: ignore[misc]
    store.run()
    assert seen == [("first", 2), ("second", 2), ("poke", 2)]


def test_a_rejected_transaction_leaves_no_trace_and_hurts_nobody(store: Store) -> None:
    """It makes no gap in the positions and undoes none of its neighbours."""
    first = store.submit(put("a", value=1))
    refused = store.submit(put("b", value=2), when(put("a", value=9), must_be_absent=True))
    last = store.submit(put("c", value=3))
    store.run()
    assert isinstance(refused[0], RecordExists)
    assert [reply.position for (reply,) in (first, last) if isinstance(reply, Applied)] == [1, 2]
    assert store.record("b") is None
    assert check(store.engine) == []


def test_preconditions_see_earlier_transactions_of_the_group(store: Store) -> None:
    """Of two creations in one tick exactly one succeeds."""
    replies = [store.submit(when(put("a", value=n), must_be_absent=True)) for n in range(2)]
    store.run()
    assert isinstance(replies[0][0], Applied)
    assert isinstance(replies[1][0], RecordExists)
    assert store.record("a") == {"value": 0}


def test_version_preconditions_decide_by_the_stored_version(store: Store) -> None:
    """All 64 bits count."""
    version = store.commit(put("a", value=1)).outcomes[0].version
    with pytest.raises(PreconditionFailed):
        store.commit(when(put("a"), any_of=frozenset({version + 1})))
    with pytest.raises(PreconditionFailed):
        store.commit(when(put("a"), none_of=frozenset({version})))
    with pytest.raises(PreconditionFailed):
        store.commit(when(put("new"), any_of=frozenset({version})))
    store.commit(when(put("a", value=2), any_of=frozenset({version})))
    assert store.record("a") == {"value": 2}


def test_existence_and_time_preconditions(store: Store) -> None:
    """A record that is missing was not modified."""
    assert isinstance(store.clock, ManualClock)
    with pytest.raises(PreconditionFailed):
        store.commit(when(patch("a", value=1), must_exist=True))
    store.commit(when(put("a"), unmodified_since_ms=0))
    with pytest.raises(PreconditionFailed):
        store.commit(when(put("a"), unmodified_since_ms=store.clock.ms - 1))
    store.commit(when(delete("a"), unmodified_since_ms=store.clock.ms + 1))


def test_a_patch_merges_and_an_increment_adds(store: Store) -> None:
    """Null is a value in a patch, and 0 for an increment."""
    store.commit(put("a", value=1, name="x", when=None))
    store.commit(patch("a", name=None), add("a", value=2, when=0.5, new=2**70))
    assert store.record("a") == {"value": 3, "name": None, "when": 0.5, "new": 2**70}
    assert check(store.engine) == []


def test_adding_to_what_is_no_number_is_refused(store: Store) -> None:
    """The record stays as it was."""
    store.commit(put("a", value="text", big=1.7e308))
    for bad in (add("a", value=1), add("a", big=1.7e308), add("a", other="1")):
        with pytest.raises(InvalidRecord):
            store.commit(bad)
    assert store.record("a") == {"value": "text", "big": 1.7e308}


def test_a_merged_patch_must_satisfy_the_table(tmp_path: Path) -> None:
    """Required and sealed names are checked on the result, which only the writer knows."""
    table = TableLayout(SLOT, "data.T", required=frozenset({"a"}), sealed=frozenset({"a", "b"}))
    store = Store(tmp_path, table=table)
    with pytest.raises(InvalidRecord, match="Property a is required"):
        store.commit(patch("k", b=1))
    store.commit(patch("k", a=1))
    with pytest.raises(InvalidRecord, match="Property c is not allowed"):
        store.commit(patch("k", c=1))
    with pytest.raises(InvalidRecord, match="Property a is required"):
        store.commit(patch("k", a=None))
    store.close()


def test_deleting_a_missing_record_logs_nothing(store: Store) -> None:
    """It succeeds and says that there was none."""
    applied = store.commit(delete("a"))
    assert (applied.position, applied.outcomes[0].existed) == (0, False)
    assert store.engine.position == 0


def test_a_deleted_record_leaves_a_grave_that_continues_its_chain(store: Store) -> None:
    """History and late writes find the key's last entry."""
    store.commit(put("a", value=1))
    store.commit(delete("a"))
    store.commit(message("a"))
    store.commit(put("a", value=2))
    with store.engine.snapshot() as snapshot:
        assert [entry.prev_seq for entry in snapshot.entries(0)] == [0, 1, 2, 3]
        assert snapshot.grave(SLOT, encode_key("a")) is None
    assert check(store.engine) == []


def test_a_message_leaves_the_record_alone(store: Store) -> None:
    """Only the chain moves: body, version and index stay."""
    version = store.commit(put("a", value=1)).outcomes[0].version
    assert store.commit(message("a", b"payload")) == Applied(2, ())
    with store.engine.snapshot() as snapshot:
        stored = snapshot.get(SLOT, encode_key("a"))
        entry = snapshot.entry(2)
    assert stored is not None
    assert entry is not None
    assert (decode_header(stored).version, decode_header(stored).last_seq) == (version, 2)
    assert (entry.payload, entry.prev_seq, entry.image) == (b"payload", 1, b"")
    assert check(store.engine) == []


def test_creation_time_stays_until_the_record_is_gone(store: Store) -> None:
    """A new record after a delete has a new one."""

    def created() -> int:
        with store.engine.snapshot() as snapshot:
            stored = snapshot.get(SLOT, encode_key("a"))
        assert stored is not None
        return decode_header(stored).created

    first = store.commit(put("a", value=1)).outcomes[0].version
    store.commit(patch("a", value=2))
    assert created() == first
    store.commit(delete("a"))
    assert created_after(store) > first


def created_after(store: Store) -> int:
    store.commit(put("a", value=3))
    with store.engine.snapshot() as snapshot:
        stored = snapshot.get(SLOT, encode_key("a"))
    assert stored is not None
    return decode_header(stored).created


def test_an_expired_record_counts_as_absent(store: Store) -> None:
    """For reading and for preconditions; its row is still there to be removed."""
    assert isinstance(store.clock, ManualClock)
    store.commit(changed(put("a", value=1), expires_ms=store.clock.ms + 10))
    store.clock.ms += 10
    assert store.record("a") is None
    assert store.commit(when(put("a", value=2), must_be_absent=True)).outcomes[0].existed is False
    assert store.record("a") == {"value": 2}
    assert check(store.engine) == []


def test_an_expiry_spares_a_record_that_was_written_again(store: Store) -> None:
    """Whoever looks for expired records sees them earlier than the writer does."""
    assert isinstance(store.clock, ManualClock)
    expiry = changed(delete("a"), reason=DeleteReason.EXPIRED)
    store.commit(changed(put("a", value=1), expires_ms=store.clock.ms + 10))
    assert store.commit(expiry).outcomes[0].existed
    assert store.record("a") == {"value": 1}
    store.clock.ms += 10
    assert store.commit(expiry).outcomes[0].seq == 2
    with store.engine.snapshot() as snapshot:
        entry = snapshot.entry(2)
        assert snapshot.stored(SLOT, encode_key("a")) is None
    assert entry is not None
    assert entry.delete_reason is DeleteReason.EXPIRED


def test_an_opaque_record_keeps_its_bytes_and_cannot_be_patched(store: Store) -> None:
    """It stands in every index as absent."""
    metadata = pack_body({"contentType": "text/plain"})
    payload = Mutation(SLOT, encode_key("a"), Kind.PUT, b"\xffraw", metadata=metadata, opaque=True)
    store.commit(payload)
    with pytest.raises(InvalidRecord):
        store.commit(patch("a", value=1))
    with store.engine.snapshot() as snapshot:
        stored = snapshot.get(SLOT, encode_key("a"))
        keys = list(snapshot.index_keys(VALUE_INDEX, b"\x00"))
    assert stored is not None
    header = decode_header(stored)
    assert (header.opaque, stored[header.body_offset :]) == (True, b"\xffraw")
    assert header.metadata == {"contentType": "text/plain"}
    assert keys == [encode_key("a")]


def test_a_long_id_comes_back_from_record_grave_and_entry(store: Store) -> None:
    """The key has only a hash of it."""
    long = "x" * 2000
    key, full_id = encode_key(long), encode_full_key(long)
    store.commit(Mutation(SLOT, key, Kind.PUT, pack_body({"value": 1}), full_id=full_id))
    with store.engine.snapshot() as snapshot:
        stored = snapshot.get(SLOT, key)
        assert stored is not None
        assert record_key(key, decode_header(stored)) == long
    store.commit(Mutation(SLOT, key, Kind.DELETE, full_id=full_id))
    with store.engine.snapshot() as snapshot:
        grave, entry = snapshot.grave(SLOT, key), snapshot.entry(2)
    assert grave is not None
    assert entry is not None
    assert record_key(key, decode_header(grave)) == long
    assert entry.full_id == full_id
    assert check(store.engine) == []


@pytest.mark.parametrize(
    ("mutation", "error"),
    [
        (Mutation(SLOT, b"", Kind.PUT, b"\x80"), InvalidKey),
        (Mutation(SLOT, b"k" * 481, Kind.PUT, b"\x80"), InvalidKey),
        (Mutation(SLOT, b"k" * 600, Kind.PUT, b"\x80"), InvalidKey),
        (Mutation(SLOT, b"k", Kind.PUT, b"\xc0"), InvalidRecord),
        (Mutation(SLOT, b"k", Kind.PUT, b"\x82\xa1a"), InvalidRecord),
        (Mutation(SLOT, b"k", Kind.PATCH, b"\xff"), InvalidRecord),
        (Mutation(99, b"k", Kind.PUT, b"\x80"), InvalidRecord),
    ],
)
def test_what_cannot_be_stored_is_rejected_alone(
    store: Store, mutation: Mutation, error: type[LyreError]
) -> None:
    """Also what shows only when the group is written: then each is tried alone."""
    before, bad, after = store.submit(put("a")), store.submit(mutation), store.submit(put("b"))
    store.run()
    assert isinstance(bad[0], error)
    assert isinstance(before[0], Applied)
    assert isinstance(after[0], Applied)
    assert check(store.engine) == []


def test_a_record_above_the_limit_is_refused(tmp_path: Path) -> None:
    """Header included, so that what is stored has the limit."""
    store = Store(tmp_path, settings=replace(ROOMY, max_record_bytes=100))
    with pytest.raises(RecordTooLarge):
        store.commit(put("a", value="x" * 100))
    store.commit(put("a", value="x" * 40))
    store.close()


def test_a_transaction_above_the_limit_is_not_taken(tmp_path: Path) -> None:
    """By mutations or by bytes; each of several messages in one mutation counts."""
    limited = replace(ROOMY, max_transaction_mutations=2, max_transaction_bytes=100)
    store = Store(tmp_path, settings=limited)
    for transaction in (
        [put("a")] * 3,
        [put("a", value="x" * 200)],
        [changed(message("a"), more=(b"", b""))],
        [changed(message("a"), more=(b"x" * 100,))],
    ):
        with pytest.raises(TransactionTooLarge):
            store.submit(*transaction)
    store.close()


def test_too_much_waiting_work_is_refused_until_it_is_done(tmp_path: Path) -> None:
    """What is refused was not taken."""
    store = Store(tmp_path, settings=replace(ROOMY, max_outstanding_mutations=2))
    store.submit(put("a"), put("b"))
    with pytest.raises(Overloaded):
        store.submit(put("c"))
    store.run()
    store.submit(put("c"))
    store.submit(put("d"))
    with pytest.raises(Overloaded):
        store.submit(put("e"))
    store.run()
    assert store.engine.position == 4
    store.close()


def test_a_large_backlog_is_committed_in_several_groups(tmp_path: Path) -> None:
    """A transaction is never split, and none is forgotten."""
    store = Store(tmp_path, settings=replace(ROOMY, group_mutations=10))
    replies = [store.submit(put(f"{n}a"), put(f"{n}b"), put(f"{n}c")) for n in range(9)]
    store.run()
    assert store.writer.statistics().groups == 3
    assert [r.position for (r,) in replies if isinstance(r, Applied)] == list(range(3, 28, 3))
    store.close()


def test_a_full_disk_refuses_and_the_same_write_succeeds_later(tmp_path: Path) -> None:
    """Nothing was written, and the engine is as before."""
    free = [10**12]
    engine = Engine.open(
        tmp_path,
        settings=replace(ROOMY, min_free_bytes=1000),
        free_bytes_of=lambda _: free[0],
    )
    engine.define_table(TableLayout(SLOT, "data.T"))
    writer = Writer(engine, call_soon=lambda _: None)
    assert engine.full == ""
    free[0] = 999
    assert engine.full == "disk full", "known before a write is refused"
    replies: list[Applied | LyreError] = []
    writer.submit([put("a")], replies.append)
    writer.commit_now()
    assert isinstance(replies[0], DiskFull)
    free[0] = 1000
    assert engine.full == ""
    writer.submit([put("a")], replies.append)
    writer.commit_now()
    assert isinstance(replies[1], Applied)
    assert check(engine) == []
    engine.close()


def test_records_can_be_deleted_below_the_minimum_of_free_space(tmp_path: Path) -> None:
    """That is how somebody makes room; other writes of the same group are refused."""
    free = [10**12]
    engine = Engine.open(
        tmp_path,
        settings=replace(ROOMY, min_free_bytes=1000),
        free_bytes_of=lambda _: free[0],
    )
    engine.define_table(TableLayout(SLOT, "data.T"))
    writer = Writer(engine, call_soon=lambda _: None)
    replies: list[Applied | LyreError] = []
    for key in ("a", "b"):
        writer.submit([put(key)], replies.append)
    writer.commit_now()
    free[0] = 999
    writer.submit([delete("a")], replies.append)
    writer.submit([put("c")], replies.append)
    writer.submit([delete("b")], replies.append)
    writer.submit([delete("b"), put("d")], replies.append)
    writer.commit_now()
    kinds = [isinstance(reply, Applied) for reply in replies[2:]]
    assert kinds == [True, False, True, False]
    assert isinstance(replies[3], DiskFull)
    with engine.snapshot() as snapshot:
        assert snapshot.count(SLOT) == 0
    assert check(engine) == []
    engine.close()


def test_a_full_map_refuses_and_rolls_back(tmp_path: Path) -> None:
    """The largest size of the file is an error that names the way out."""
    store = Store(tmp_path, settings=replace(ROOMY, map_size=1 << 18))
    replies: list[Applied | LyreError] = []
    for number in range(2000):
        store.writer.submit([put(f"{number}", value="x" * 100)], replies.append)
    store.run()
    assert any(isinstance(reply, DiskFull) for reply in replies)
    assert store.engine.full == "data file full"
    assert check(store.engine) == []
    store.close()


def test_session_rows_commit_with_the_messages_beside_them(store: Store) -> None:
    """And with nothing beside them, without moving the position."""
    row = encode_progress(SessionProgress(1, b"log", 7))
    store.writer.submit([message("a")], lambda _: None, session_rows=[(b"s1", row)])
    store.writer.submit([], lambda _: None, session_rows=[(b"s2", row)])
    store.run()
    store.writer.submit([], lambda _: None, session_rows=[(b"s1", None)])
    store.run()
    with store.engine.snapshot() as snapshot:
        assert list(snapshot.session_rows()) == [(b"s2", row)]
        assert snapshot.position == 1


def test_session_rows_of_a_rejected_transaction_are_not_written(store: Store) -> None:
    """They belong to it."""
    bad = when(put("a"), must_exist=True)
    store.writer.submit([bad], lambda _: None, session_rows=[(b"s", b"row")])
    store.run()
    with store.engine.snapshot() as snapshot:
        assert snapshot.session_row(b"s") is None


def test_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """The awaitable form returns what was applied, or raises."""

    async def body() -> None:
        engine = Engine.open(tmp_path, settings=ROOMY)
        engine.define_table(TableLayout(SLOT, "data.T"))
        writer = Writer(engine, call_soon=asyncio.get_running_loop().call_soon)
        first, second = await asyncio.gather(writer.commit([put("a")]), writer.commit([put("b")]))
        assert (first.position, second.position) == (1, 2)
        with pytest.raises(RecordExists):
            await writer.commit([when(put("a"), must_be_absent=True)])
        writer.close()
        with pytest.raises(EngineClosed):
            await writer.commit([put("c")])
        engine.close()

    asyncio.run(body())


def test_a_failing_owner_does_not_keep_others_from_their_replies(store: Store) -> None:
    """An error in one protocol's callback is logged and stays there."""

    def fail(_: object) -> None:
        raise RuntimeError("the connection is gone")

    store.writer.submit([put("a")], fail)
    reply = store.submit(put("b"))
    store.run()
    assert isinstance(reply[0], Applied)


def test_close_commits_what_waits(store: Store) -> None:
    """Whoever was told that the write was taken gets its reply."""
    reply = store.submit(put("a", value=1))
    store.writer.close()
    assert isinstance(reply[0], Applied)


def test_whoever_waits_when_the_engine_closes_is_told(store: Store) -> None:
    """No write is left without an answer."""
    reply = store.submit(put("a", value=1))
    store.engine.close()
    store.run()
    assert isinstance(reply[0], EngineClosed)


def test_an_index_finds_exactly_the_records_with_a_value(store: Store) -> None:
    """After changes, deletes, and within one group."""
    store.submit(put("a", value=1))
    store.submit(put("b", value=1), put("a", value=[2, 3, 2]))
    store.commit(put("c"), put("d", value=3), delete("d"))
    with store.engine.snapshot() as snapshot:

        def found(value: object) -> list[bytes]:
            return list(snapshot.index_keys(VALUE_INDEX, encode_index_value(value)))

        assert (found(1), found(2), found(3)) == (
            [encode_key("b")],
            [encode_key("a")],
            [encode_key("a")],
        )
    assert check(store.engine) == []


def test_true_and_one_are_different_values_for_an_index(store: Store) -> None:
    """Python holds them equal; the index does not."""
    store.commit(put("a", value=1))
    store.commit(put("a", value=True))
    with store.engine.snapshot() as snapshot:
        assert list(snapshot.index_keys(VALUE_INDEX, encode_index_value(1))) == []
        assert list(snapshot.index_keys(VALUE_INDEX, encode_index_value(True)))
    assert check(store.engine) == []


def test_a_scan_goes_both_ways_and_on_from_any_key(store: Store) -> None:
    """Start is in, stop is out, after is out."""
    store.commit(*(put(name, value=1) for name in "abcde"))

    def names(**arguments: object) -> str:
        with store.engine.snapshot() as snapshot:
            found = snapshot.scan(SLOT, **arguments)  # type: ignore[arg-type]  # by name
            return "".join(str(key[1:], "ascii") for key, stored in found if body_of(stored))

    b, d = encode_key("b"), encode_key("d")
    assert names() == "abcde"
    assert names(start=b, stop=d) == "bc"
    assert names(after=b) == "cde"
    assert names(reverse=True) == "edcba"
    assert names(start=b, stop=d, reverse=True) == "cb"
    assert names(after=d, reverse=True) == "cba"
    assert names(stop=encode_key("z"), reverse=True) == "edcba"


@pytest.mark.parametrize(
    ("present", "amount", "sentence"),
    [
        (9, 2, "Property n must be -10 to 10"),
        (-9, -2, "Property n must be -10 to 10"),
        (1, 0.5, "Property n is an integer"),
        (None, 11, "Property n must be -10 to 10"),
    ],
)
def test_a_sum_beyond_its_bounds_is_refused(
    tmp_path: Path, present: int | None, amount: float, sentence: str
) -> None:
    """Decided against the record as it is at its turn, and for its transaction alone."""
    bounded = replace(TABLE, bounds=(IntegerBounds("n", -10, 10),))
    store = Store(tmp_path, table=bounded)
    store.commit(put("a", n=present))
    refused, taken = store.submit(add("a", n=amount)), store.submit(put("b", n=1))
    store.run()
    assert isinstance(refused[0], InvalidRecord)
    assert sentence in str(refused[0])
    assert isinstance(taken[0], Applied)
    assert store.record("a") == {"n": present}
    store.commit(add("b", n=9.0))
    assert store.record("b") == {"n": 10}
    assert type((store.record("b") or {})["n"]) is int
    store.close()


def test_a_small_file_is_never_filled_by_its_own_log(tmp_path: Path) -> None:
    """Whoever overwrites one record for ever is not told that the disk is full."""
    store = Store(tmp_path, settings=StorageSettings(map_size=1 << 22, min_free_bytes=0))
    replies: list[Applied | LyreError] = []
    for number in range(200):
        for _ in range(50):
            store.writer.submit([put("a", value=f"{number}" * 500)], replies.append)
        store.run()
    assert [reply for reply in replies if isinstance(reply, LyreError)] == []
    assert sum(len(f"{number}" * 500) * 50 for number in range(200)) > 2 * (1 << 22)
    assert check(store.engine) == []
    store.close()


def test_a_full_disk_is_logged_with_the_setting_but_not_for_every_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At most once in ten seconds; the client is told no path."""
    clock, free = ManualClock(), [1 << 30]
    engine = Engine.open(
        tmp_path,
        settings=replace(ROOMY, min_free_bytes=1000),
        now_ms=clock,
        free_bytes_of=lambda path: free[0],
    )
    engine.define_table(TABLE)
    writer = Writer(engine, call_soon=lambda callback: None)
    free[0] = 999
    replies: list[Applied | LyreError] = []
    for step_ms in (0, 9_000, 1_000, 5_000):
        clock.ms += step_ms
        writer.submit([put("a")], replies.append)
        writer.commit_now()
        writer.maintain()
    assert len(caplog.messages) == 2
    assert "storage.minFree" in caplog.messages[0]
    assert f"{tmp_path}: 999 bytes free" in caplog.messages[0]
    assert all(isinstance(reply, DiskFull) for reply in replies)
    assert str(tmp_path) not in str(replies[0])
    assert "storage.minFree" in str(replies[0])
    engine.close()
