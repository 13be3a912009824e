"""What a sequencer promises, held against the inline writer and a worker's way to another."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed

from lyredb.errors import (
    DiskFull,
    EngineClosed,
    InvalidRecord,
    LyreError,
    NotAuthorised,
    Overloaded,
    PreconditionFailed,
    RecordExists,
    TransactionTooLarge,
    WriteConflict,
)
from lyredb.storage.check import check
from lyredb.storage.mutation import Applied, Kind, Mutation, Outcome, Precondition
from lyredb.storage.sequencer import Result
from tests.storage.sequencers import Opener, Room, inline, remote
from tests.storage.store import ROOMY, SLOT, add, body_of, check_of, delete, message, put

pytestmark = pytest.mark.parametrize("opened", [inline, remote])


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(body)


def creation(key: str, **attributes: object) -> Mutation:
    return changed(put(key, **attributes), precondition=Precondition(must_be_absent=True))


def applied(result: Result) -> Applied:
    assert isinstance(result, Applied), result
    return result


def test_replies_come_once_each_in_order_with_what_was_applied(
    opened: Opener, tmp_path: Path
) -> None:
    """Positions rise in the order of submission, over several ticks."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            for number in range(300):
                room.submit(number, put(f"k{number % 7}", value=number), message("m"))
                if number % 50 == 0:
                    await asyncio.sleep(0)
            replies = await room.answered(300)
            assert [label for label, _ in replies] == list(range(300))
            results = [applied(result) for _, result in replies]
            assert [result.position for result in results] == list(range(2, 601, 2))
            assert [len(result.outcomes) for result in results] == [2] * 300
            assert [result.outcomes[0].existed for result in results] == [False] * 7 + [True] * 293
            assert check(room.engine) == []

    run(body())


def test_no_reply_comes_before_submit_returns(opened: Opener, tmp_path: Path) -> None:
    """Callers set up what the reply needs afterwards."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            room.submit("a", put("a"))
            assert room.replies == []
            await room.answered(1)

    run(body())


def test_a_reply_comes_when_the_write_can_be_read(opened: Opener, tmp_path: Path) -> None:
    """Acknowledged means that it is there."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            found: list[bytes | None] = []

            def read(_: Result) -> None:
                found.append(room.engine.record(SLOT, put("a").key))

            room.sequencer.submit([put("a", value=1)], read)
            await room.until(lambda: bool(found))
            assert found[0] is not None
            assert body_of(found[0]) == {"value": 1}

    run(body())


def test_a_rejection_is_alone_in_its_turn_and_exact(opened: Opener, tmp_path: Path) -> None:
    """Its neighbours do not notice; class, sentence and attributes are what staging raised."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            room.submit(0, put("a", value="text"))
            room.submit(1, creation("a"))
            room.submit(2, add("a", value=1))
            room.submit(3, put("b"))
            replies = await room.answered(4)
            assert [label for label, _ in replies] == [0, 1, 2, 3]
            exists, invalid = replies[1][1], replies[2][1]
            assert type(exists) is RecordExists
            assert str(exists) == "a record with this key exists already"
            assert type(invalid) is InvalidRecord
            assert invalid.problems == invalid.args
            assert applied(replies[3][1]).position == 2

    run(body())


def test_only_one_of_two_creations_succeeds(opened: Opener, tmp_path: Path) -> None:
    """Also when they come from two workers in the same moment."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            room.submit("first", creation("a"))
            room.submit("second", creation("a"), other=True)
            results = dict(await room.answered(2))
            kinds = sorted(type(result).__name__ for result in results.values())
            assert kinds == ["Applied", "RecordExists"]

    run(body())


def test_preconditions_decide_by_all_bits_of_a_version(opened: Opener, tmp_path: Path) -> None:
    """Versions travel exactly."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            version = (await room.sequencer.commit([put("a", value=1)])).outcomes[0].version
            wanted = Precondition(any_of=frozenset({version, 7}))
            done = await room.sequencer.commit([changed(put("a"), precondition=wanted)])
            assert done.outcomes[0].version > version
            with pytest.raises(PreconditionFailed, match="another version"):
                await room.sequencer.commit([changed(put("a"), precondition=wanted)])

    run(body())


def test_session_rows_are_in_the_commit_of_their_transaction(
    opened: Opener, tmp_path: Path
) -> None:
    """A rejected transaction takes its rows with it; ``None`` deletes; they may be alone."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            sequencer = room.sequencer
            await sequencer.commit([put("a")], session_rows=[(b"s", b"1"), (b"t", b"2")])
            with pytest.raises(RecordExists):
                await sequencer.commit([creation("a")], session_rows=[(b"s", b"9")])
            alone = await sequencer.commit([], session_rows=[(b"t", None)])
            assert alone.position == 1
            with room.engine.snapshot() as snapshot:
                assert dict(snapshot.session_rows()) == {b"s": b"1"}

    run(body())


def test_a_transaction_that_is_too_large_is_refused_at_once(opened: Opener, tmp_path: Path) -> None:
    """Nothing of it is taken."""
    small = replace(ROOMY, max_transaction_mutations=2, max_transaction_bytes=200)

    async def body() -> None:
        async with opened(tmp_path, small) as room:
            for transaction in ([put("a")] * 3, [put("a", value="x" * 300)]):
                with pytest.raises(TransactionTooLarge):
                    room.sequencer.submit(transaction, lambda _: None)
            await room.sequencer.commit([put("a"), put("b")])
            assert room.sequencer.statistics().waiting == 0

    run(body())


def test_too_much_waiting_is_refused_at_once_and_ends(opened: Opener, tmp_path: Path) -> None:
    """Back-pressure: what is over the bound is not taken, what was taken is answered."""
    small = replace(ROOMY, max_outstanding_mutations=3, max_outstanding_bytes=1000)

    async def body() -> None:
        async with opened(tmp_path, small) as room:
            for number in range(3):
                room.submit(number, put(f"k{number}"))
            with pytest.raises(Overloaded):
                room.submit("too many", put("x"))
            await room.answered(3)
            room.submit("large", put("a", value="x" * 2000))
            with pytest.raises(Overloaded):
                room.submit("too large", put("x"))
            replies = await room.answered(4)
            assert all(isinstance(result, Applied) for _, result in replies)
            assert room.sequencer.statistics().waiting_bytes == 0

    run(body())


def test_a_full_disk_is_told_to_each_and_passes(opened: Opener, tmp_path: Path) -> None:
    """Deletions go on, and writes again when there is space."""
    careful = replace(ROOMY, min_free_bytes=1000)

    async def body() -> None:
        async with opened(tmp_path, careful) as room:
            await room.sequencer.commit([put("a")])
            room.disk.free = 10
            for label in ("b", "c"):
                room.submit(label, put(label))
            room.submit("delete", delete("a"))
            replies = dict(await room.answered(3))
            assert type(replies["b"]) is type(replies["c"]) is DiskFull
            assert "storage.minFree" in str(replies["b"])
            assert isinstance(replies["delete"], Applied)
            room.disk.free = 1 << 40
            await room.sequencer.commit([put("b")])
            assert room.sequencer.failure == ""

    run(body())


def test_pokes_come_after_the_replies_with_the_position(opened: Opener, tmp_path: Path) -> None:
    """Whoever wrote knows before readers are told; a rejection tells nobody."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            seen: list[object] = []
            end = room.sequencer.on_commit(seen.append)
            for label in ("a", "b"):
                room.sequencer.submit([put(label)], lambda _, label=label: seen.append(label))  # type: ignore[misc]
            await room.until(lambda: 2 in seen)
            assert seen == ["a", "b", 2]
            with pytest.raises(RecordExists):
                await room.sequencer.commit([creation("a")])
            end()
            await room.sequencer.commit([put("c")])
            assert seen == ["a", "b", 2]

    run(body())


def test_commits_of_another_worker_are_told_too(opened: Opener, tmp_path: Path) -> None:
    """Readers of every process follow the log."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            seen: list[int] = []
            room.other.on_commit(seen.append)
            await room.sequencer.commit([put("a"), put("b")])
            await room.until(lambda: bool(seen))
            assert seen == [2]

    run(body())


def test_an_owner_that_fails_at_its_reply_costs_nobody_else(
    opened: Opener, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; the next ones are told."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:

            def fail(_: Result) -> None:
                raise RuntimeError("the owner is broken")

            room.sequencer.submit([put("a")], fail)
            room.submit("b", put("b"))
            await room.answered(1)
            assert "the owner is broken" in caplog.text

    run(body())


def test_leases_of_two_workers_never_meet(opened: Opener, tmp_path: Path) -> None:
    """Nor do they meet what is there."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            blocks: list[range | LyreError] = []
            for _ in range(6):
                room.sequencer.lease_integers(SLOT, blocks.append)
                room.other.lease_integers(SLOT, blocks.append)
            await room.until(lambda: len(blocks) == 12)
            leased = [number for block in blocks if isinstance(block, range) for number in block]
            assert len(leased) >= 12
            assert len(set(leased)) == len(leased)
            room.sequencer.lease_integers(99, blocks.append)
            await room.until(lambda: len(blocks) == 13)
            assert type(blocks[12]) is InvalidRecord

    run(body())


def test_a_bulk_load_does_not_hold_others_up(opened: Opener, tmp_path: Path) -> None:
    """Who comes after 400 bulk writes has waited for a fifth of the groups at most."""
    grouped = replace(ROOMY, group_mutations=50)

    async def body() -> None:
        async with opened(tmp_path, grouped) as room:
            for number in range(400):
                room.submit("bulk", put(f"b{number}"), bulk=True)
            for number in range(100):
                room.submit("single", put(f"s{number}"))
            replies = await room.answered(500)
            labels = [label for label, _ in replies]
            last = max(place for place, label in enumerate(labels) if label == "single")
            assert last < 130
            assert labels.count("bulk") == 400

    run(body())


def test_what_was_taken_before_the_close_is_written_and_answered(
    opened: Opener, tmp_path: Path
) -> None:
    """In order; whatever comes later is refused."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            for number in range(20):
                room.submit(number, put(f"k{number}"))
            room.sequencer.close()
            with pytest.raises(EngineClosed):
                room.submit("late", put("late"))
            assert await room.sequencer.drain(5)
            assert [label for label, _ in room.replies] == list(range(20))
            with room.engine.snapshot() as snapshot:
                assert snapshot.count(SLOT) == 20

    run(body())


def test_a_cancelled_wait_does_not_take_the_write_back(opened: Opener, tmp_path: Path) -> None:
    """It is answered to nobody and counts."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            waiting = asyncio.ensure_future(room.sequencer.commit([put("a")]))
            await asyncio.sleep(0)
            waiting.cancel()
            await room.sequencer.commit([put("b")])
            assert room.sequencer.statistics().transactions == 2
            assert room.engine.record(SLOT, put("a").key) is not None

    run(body())


def reading(version: int) -> Precondition:
    return Precondition(read_version=version)


def test_a_transaction_commits_only_while_what_it_read_is_unchanged(
    opened: Opener, tmp_path: Path
) -> None:
    """Absent is 0; a check writes nothing, and says in its place what it found."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            commit = room.sequencer.commit
            version = (await commit([put("a", value=1)])).outcomes[0].version
            checks = [check_of("a", reading(version)), check_of("none", reading(0))]
            done = await commit([*checks, put("b", value=1)])
            assert (done.position, len(done.outcomes)) == (2, 3)
            assert done.outcomes[0] == Outcome(0, version, existed=True)
            assert done.outcomes[1] == Outcome(0, 0, existed=False)
            with pytest.raises(WriteConflict) as caught:
                await commit([put("c"), check_of("a", reading(version - 1)), put("d")])
            assert caught.value.mutation == 1
            with pytest.raises(WriteConflict):
                await commit([changed(put("b"), precondition=reading(0))])
            assert (await commit(checks)).position == 2
            assert room.engine.record(SLOT, put("c").key) is None
            assert room.sequencer.statistics().conflicts == 2
            assert room.sequencer.statistics().rejected == 2
            assert check(room.engine) == []
            with room.engine.snapshot() as snapshot:
                entries = snapshot.entries(0)
            assert [entry.kind for entry in entries] == [Kind.PUT, Kind.PUT]
            assert [entry.is_last for entry in entries] == [True, True]

    run(body())


def test_what_was_read_is_compared_with_the_record_before_the_transaction(
    opened: Opener, tmp_path: Path
) -> None:
    """Own writes do not conflict with own reads; other conditions see the earlier writes."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            commit = room.sequencer.commit
            version = (await commit([put("a", value=1)])).outcomes[0].version
            await commit([delete("a"), changed(put("a"), precondition=reading(version))])
            with pytest.raises(RecordExists) as caught:
                await commit([creation("b"), creation("b")])
            assert caught.value.mutation == 1
            await commit([delete("a"), creation("a")])

    run(body())


def test_of_two_that_read_and_write_one_record_one_conflicts(
    opened: Opener, tmp_path: Path
) -> None:
    """Also from two workers in one group."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            version = (await room.sequencer.commit([put("a", value=1)])).outcomes[0].version
            for label, other in (("one", False), ("two", True)):
                write = changed(put("a", value=2), precondition=reading(version))
                room.submit(label, write, other=other)
            kinds = sorted(type(result).__name__ for _, result in await room.answered(2))
            assert kinds == ["Applied", "WriteConflict"]

    run(body())


def test_a_put_of_who_may_not_change_all_keeps_the_rest(opened: Opener, tmp_path: Path) -> None:
    """Decided at the commit, by the record that is there then; undeclared attributes too."""

    async def body() -> None:
        async with opened(tmp_path, ROOMY) as room:
            commit = room.sequencer.commit
            limited = changed(put("a", value=2, secret=2, new=2), may_change=("value", "gone"))
            await commit([limited])
            assert record_of(room, "a") == {"value": 2, "secret": 2, "new": 2}
            await commit([put("a", value=1, secret=1, gone=1)])
            done = await commit([limited])
            assert record_of(room, "a") == {"value": 2, "secret": 1}
            with room.engine.snapshot() as snapshot:
                entry = snapshot.entry(done.position)
            assert entry is not None
            assert body_of(entry.image) == {"value": 2, "secret": 1}
            await commit([changed(put("a"), opaque=True)])
            with pytest.raises(NotAuthorised):
                await commit([limited])
            assert check(room.engine) == []

    run(body())


def record_of(room: Room, key: str) -> dict[str, object]:
    stored = room.engine.record(SLOT, put(key).key)
    assert stored is not None
    return body_of(stored)
