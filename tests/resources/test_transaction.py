"""Transactions of code: one position to read, own writes on top, one commit or none."""

# ruff: noqa: PT012  # what a block does as a whole is what raises

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from lyredb.errors import (
    InvalidRecord,
    RecordExists,
    Timeout,
    TransactionTooLarge,
    WriteConflict,
)
from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.storage.settings import StorageSettings
from lyredb.tables.handle import TableHandle
from tests.resources.embedded_nodes import Opener, inline, worker

SDL = """
type Account @table @export {
  id: ID @primaryKey
  amount: Int @indexed
  note: String
  ownerId: ID @indexed
  owner: Owner @relationship(from: "ownerId")
}
type Owner @table @export { id: ID @primaryKey name: String @indexed }
type Entry @table(database: "books") @export { id: Int @primaryKey text: String! @indexed }
"""
Body = Callable[[EmbeddedDatabase], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture(params=[inline, worker])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a test with an open database: it is the same beside a writer process."""
    opened: Opener = request.param

    def run(body: Body, storage: StorageSettings | None = None) -> None:
        async def opening() -> None:
            settings = storage or StorageSettings()
            async with opened(tmp_path / "data", SDL, settings) as db:
                await body(db)

        asyncio.run(opening())

    return run


def beside(call: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    """Run something in a task that is in no transaction."""
    return asyncio.get_running_loop().create_task(call, context=contextvars.Context())


def test_all_writes_of_a_block_come_together_over_tables_and_databases(run: Run) -> None:
    """Nobody sees a part: before the end nothing is there, after it everything, in one step."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts, entries = db.tables.Account, db.tables["books.Entry"]
        async with db.transaction() as txn:
            await accounts.put("a", {"amount": 1})
            key = await entries.put({"text": "made"})
            assert await beside(accounts.get("a")) is None
            assert await beside(entries.get(key)) is None
            before = txn.position
        assert await accounts.get("a") == {"id": "a", "amount": 1}
        assert await entries.get(key) == {"id": key, "text": "made"}
        with db.database._engine.snapshot() as snapshot:
            first, second = snapshot.entries(before)
        assert (first.is_last, second.is_last) == (False, True)

    run(body)


def test_an_exception_leaves_nothing(run: Run) -> None:
    """The block either ends well or never was."""

    async def body(db: EmbeddedDatabase) -> None:
        with pytest.raises(KeyError):
            async with db.transaction():
                await db.tables.Account.put("a", {"amount": 1})
                raise KeyError
        assert await db.tables.Account.get("a") is None

    run(body)


def test_reads_are_of_the_beginning_with_own_writes_on_top(run: Run) -> None:
    """What others write meanwhile is not seen, whatever was read before; own writes are."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        await accounts.put("a", {"amount": 1})
        await accounts.put("b", {"amount": 1})
        async with db.transaction():
            await beside(accounts.put("a", {"amount": 2}))
            await beside(accounts.delete("b"))
            await beside(accounts.put("c", {"amount": 2}))
            seen = [await accounts.get(key) for key in "abc"]
            assert seen == [{"id": "a", "amount": 1}, {"id": "b", "amount": 1}, None]
        async with db.transaction():
            await accounts.patch("a", note="mine")
            await accounts.add("a", amount=5)
            assert await accounts.get("a") == {"id": "a", "amount": 7, "note": "mine"}
            assert await accounts.delete("a")
            assert await accounts.get("a") is None
            assert not await accounts.delete("a")
            await accounts.put("a", {"amount": 9})
            assert await accounts.get("a") == {"id": "a", "amount": 9}
        assert await accounts.get("a") == {"id": "a", "amount": 9}

    run(body)


@pytest.mark.parametrize("write_too", [True, False])
def test_a_record_that_was_read_and_changed_is_a_conflict(run: Run, write_too: bool) -> None:
    """Whether it is written too or only read; and nothing of the transaction is there."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        await accounts.put("a", {"amount": 1})
        with pytest.raises(WriteConflict):
            async with db.transaction():
                found = await accounts.get("a")
                assert found is not None
                await beside(accounts.put("a", {"amount": 2}))
                await accounts.put("a" if write_too else "b", {"amount": found["amount"] + 1})
        assert await accounts.get("a") == {"id": "a", "amount": 2}
        assert await accounts.get("b") is None
        assert db.database._writing._writer.statistics().conflicts == 1

    run(body)


def test_an_absence_that_was_read_is_checked_too(run: Run) -> None:
    """Of two that make the record because there is none, one is told so."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        with pytest.raises(WriteConflict):
            async with db.transaction():
                assert await accounts.get("a") is None
                await beside(accounts.put("a", {"amount": 2}))
                await accounts.put("a", {"amount": 1})

    run(body)


def test_what_reads_nothing_never_conflicts(run: Run) -> None:
    """Increments, patches and puts of records that were not looked at."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        async with db.transaction():
            await accounts.add("a", amount=1)
            await accounts.patch("b", note="x")
            await accounts.put("c", {"amount": 1})
            for key in "abc":
                await beside(accounts.put(key, {"amount": 10}))
        assert await accounts.get("a") == {"id": "a", "amount": 11}
        assert await accounts.get("b") == {"id": "b", "amount": 10, "note": "x"}
        assert await accounts.get("c") == {"id": "c", "amount": 1}

    run(body)


def test_a_block_that_only_reads_costs_no_write_and_never_conflicts(run: Run) -> None:
    """It saw one position: that is consistent whatever came after."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        await accounts.put("a", {"amount": 1})
        writer = db.database._writing._writer
        async with db.transaction():
            await accounts.get("a")
            await beside(accounts.put("a", {"amount": 2}))
            before = writer.statistics().transactions
        assert writer.statistics().transactions == before

    run(body)


def test_a_conflict_is_tried_again_as_often_as_asked(run: Run) -> None:
    """Each try reads anew; the last conflict is raised."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        await accounts.put("a", {"amount": 0})
        tries = 0
        others = 0

        async def increase() -> int:
            nonlocal tries
            tries += 1
            found = await accounts.get("a")
            assert found is not None
            if tries <= others:
                await beside(accounts.add("a", amount=100))
            await accounts.put("a", {"amount": found["amount"] + 1})
            return int(found["amount"])

        others = 2
        assert await db.transaction(retries=2).run(increase) == 200
        assert (tries, await accounts.get("a")) == (3, {"id": "a", "amount": 201})
        tries, others = 0, 9
        with pytest.raises(WriteConflict):
            await db.transaction(retries=2).run(increase)
        assert tries == 3
        tries, others = 0, 1
        async for attempt in db.transaction(retries=3):
            async with attempt:
                await increase()
        assert tries == 2

    run(body)


def test_a_with_block_says_that_it_cannot_run_again(run: Run) -> None:
    """An option that would do nothing is refused, with the way to do it."""

    async def body(db: EmbeddedDatabase) -> None:
        with pytest.raises(TypeError, match="async for attempt"):
            async with db.transaction(retries=3):
                pass
        with pytest.raises(RuntimeError, match="not entered"):
            async for _ in db.transaction(retries=3):
                pass
        with pytest.raises(ValueError, match="retries"):
            db.transaction(retries=-1)

    run(body)


def test_a_block_inside_a_block_joins_it(run: Run) -> None:
    """One commit at the outer end; what fails inside is undone alone."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        async with db.transaction() as outer:
            await accounts.put("a", {"amount": 1})
            assert await accounts.get("a") == {"id": "a", "amount": 1}
            async with db.transaction() as inner:
                assert inner is outer
                await accounts.put("b", {"amount": 1})
            assert await beside(accounts.get("b")) is None
            with pytest.raises(KeyError):
                async with db.transaction():
                    await accounts.put("a", {"amount": 2})
                    await accounts.add("b", amount=7)
                    await accounts.publish("a", "never")
                    assert await accounts.get("a") == {"id": "a", "amount": 2}
                    raise KeyError
            assert await accounts.get("a") == {"id": "a", "amount": 1}
            assert await accounts.get("b") == {"id": "b", "amount": 1}
        assert await accounts.get("a") == {"id": "a", "amount": 1}
        assert await accounts.get("b") == {"id": "b", "amount": 1}

    run(body)


def test_another_task_cannot_use_it(run: Run) -> None:
    """Half of a gather inside, half outside of the commit would be a silent loss."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        async with db.transaction():
            with pytest.raises(RuntimeError, match="belongs to the task"):
                await asyncio.gather(accounts.put("a", {}))
            left = asyncio.create_task(asyncio.Event().wait())
            late = contextvars.copy_context()
        left.cancel()
        with pytest.raises(RuntimeError, match="is committed"):
            await asyncio.get_running_loop().create_task(accounts.get("a"), context=late)
        assert await accounts.get("a") is None

    run(body)


def test_what_takes_too_long_cannot_go_on(run: Run) -> None:
    """Nothing is written, at the end either."""

    async def body(db: EmbeddedDatabase) -> None:
        with pytest.raises(Timeout, match="may take"):
            async with db.transaction(timeout_s=0):
                await db.tables.Account.put("a", {})
        with pytest.raises(Timeout, match="may take"):
            async with db.transaction(timeout_s=0):
                pass
        assert await db.tables.Account.get("a") is None

    run(body)


def test_messages_are_sent_after_the_commit_or_not_at_all(run: Run) -> None:
    """Who gets a message finds what it speaks of; a block that fails sends none."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        async with accounts.subscribe() as events:
            async with db.transaction():
                await accounts.publish("a", "first")
                await accounts.put("a", {"amount": 1})
                await accounts.publish("a", "second")
            with pytest.raises(KeyError):
                async with db.transaction():
                    await accounts.publish("a", "never")
                    raise KeyError
            await accounts.publish("a", "last")
            got = [(await anext(events)).value for _ in range(4)]
        assert got == [{"id": "a", "amount": 1}, "first", "second", "last"]

    run(body)


def test_records_get_integers_inside_a_block(run: Run) -> None:
    """Generated keys are known at once, and differ although nothing is written yet."""

    async def body(db: EmbeddedDatabase) -> None:
        entries = db.tables["books.Entry"]
        async with db.transaction():
            keys = [await entries.put({"text": str(number)}) for number in range(40)]
            assert await entries.get(keys[3]) == {"id": keys[3], "text": "3"}
        assert sorted(set(keys)) == keys
        assert [record["text"] async for record in entries.search()] == list(map(str, range(40)))

    run(body)


def test_refusals_come_at_the_write_and_the_block_may_go_on(run: Run) -> None:
    """What can be known is known at once; a write that was refused is not part of it."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        await accounts.put("a", {"amount": 1})
        async with db.transaction():
            with pytest.raises(InvalidRecord):
                await accounts.put("a", {"amount": "much"})
            with pytest.raises(RecordExists):
                await db.write_record("data.Account", "create", None, {"id": "a"})
            await accounts.delete("a")
            await db.write_record("data.Account", "create", None, {"id": "a", "amount": 3})
        assert await accounts.get("a") == {"id": "a", "amount": 3}

    run(body)


def test_too_much_is_refused_with_the_limit(run: Run) -> None:
    """Reads and writes are kept in memory until the end."""
    small = StorageSettings(max_transaction_mutations=10, max_transaction_bytes=10_000)

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        with pytest.raises(TransactionTooLarge):
            async with db.transaction():
                for key in "abcdefghijk":
                    await accounts.put(key, {})
        with pytest.raises(TransactionTooLarge):
            async with db.transaction():
                for key in "abcdefghijk":
                    await accounts.get(key)
        assert await accounts.get("a") is None

    run(body, small)


async def found(table: TableHandle[dict[str, Any]], query: str) -> list[Any]:
    return await table.query(query).list()


def test_searches_see_own_writes_where_they_will_stand(run: Run) -> None:
    """By index, by key, in order from both ends, with limit; others' writes are not seen."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        for number in range(6):
            await accounts.put(f"k{number}", {"amount": number * 10})
        with pytest.raises(WriteConflict):  # what was read at the end, k4, has changed
            async with db.transaction():
                await accounts.put("k1", {"amount": 55})
                await accounts.delete("k2")
                await accounts.put("new", {"amount": 25})
                await accounts.add("k3", amount=-25)
                await beside(accounts.put("k4", {"amount": 1}))
                await beside(accounts.put("late", {"amount": 20}))
                up = [0, 5, 25, 40, 50, 55]
                assert await found(accounts, "sort(amount)&select(amount)") == up
                assert await found(accounts, "sort(-amount)&select(amount)") == up[::-1]
                assert await found(accounts, "sort(-amount)&limit(2)&select(amount)") == [55, 50]
                assert await found(accounts, "amount=ge=20&amount=lt=50&select(amount)") == [25, 40]
                assert await found(accounts, "amount=55&select(id)") == ["k1"]
                assert await found(accounts, "amount=30|amount=20") == []
                assert await found(accounts, "sort(-id)&limit(2)&select(id)") == ["new", "k5"]
                assert await found(accounts, "note==null") == []
                assert await accounts.search().count() == 6

    run(body)


def test_long_searches_go_on_among_own_writes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where every row is read from a new snapshot, and others write between two."""
    monkeypatch.setattr("lyredb.tables.query.view.FIRST_BATCH", 1)
    for name, value in (("FIRST_BATCH", 1), ("LARGEST_BATCH", 1), ("HELD_BYTES", 0)):
        monkeypatch.setattr(f"lyredb.tables.query.results.{name}", value)

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        for number in range(0, 20, 2):
            await accounts.put(f"k{number:02}", {"amount": number})
        for order in ("id", "-id", "amount", "-amount"):
            with pytest.raises(WriteConflict):
                async with db.transaction():
                    for number in range(1, 20, 2):
                        await accounts.put(f"k{number:02}", {"amount": number})
                    await accounts.delete("k04")
                    seen = []
                    async for amount in accounts.query(f"sort({order})&select(amount)"):
                        seen.append(amount)
                        await beside(accounts.patch(f"k{amount // 2 * 2:02}", note=order))
            wanted = [number for number in range(20) if number != 4]
            assert seen == (wanted[::-1] if order.startswith("-") else wanted), order

    run(body)


def test_joins_see_own_writes_on_either_side(run: Run) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        accounts, owners = db.tables.Account, db.tables.Owner
        await owners.put("ann", {"name": "Ann"})
        await accounts.put("a", {"amount": 1, "ownerId": "ann"})
        async with db.transaction():
            await owners.put("bob", {"name": "Bob"})
            await accounts.put("b", {"amount": 2, "ownerId": "bob"})
            await owners.patch("ann", name="Anna")
            assert await found(accounts, "owner.name=Bob&select(id)") == ["b"]
            assert await found(accounts, "owner.name=Ann") == []
            assert await found(accounts, "sort(id)&select(id,owner{name})") == [
                {"id": "a", "owner": {"name": "Anna"}},
                {"id": "b", "owner": {"name": "Bob"}},
            ]

    run(body)


def test_what_a_search_found_is_checked_at_the_commit(run: Run) -> None:
    """A decision on records that were found conflicts with a change of one of them."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        await accounts.put("a", {"amount": 1})
        with pytest.raises(WriteConflict):
            async with db.transaction():
                total = sum(await found(accounts, "amount=lt=5&select(amount)"))
                await beside(accounts.add("a", amount=1))
                await accounts.put("total", {"amount": total})
        async with db.transaction():
            assert await found(accounts, "amount=gt=5") == []
            await beside(accounts.add("a", amount=1))
            await accounts.put("total", {"amount": 0})

    run(body)


def test_two_that_find_nothing_may_both_write_which_is_documented(run: Run) -> None:
    """Write skew on a range: what was not there is not checked. A record that stands for the
    range makes it a conflict."""

    async def book(db: EmbeddedDatabase, key: str, started: asyncio.Barrier, guard: str) -> None:
        async with db.transaction():
            if guard:
                await db.tables.Owner.get(guard)
                await db.tables.Owner.add(guard)
                await db.tables.Owner.patch(guard, name=key)
            assert await found(db.tables.Account, "note=taken") == []
            await started.wait()
            await db.tables.Account.put(key, {"note": "taken"})

    async def body(db: EmbeddedDatabase) -> None:
        for guard, expected in (("", 2), ("room", 1)):
            started = asyncio.Barrier(2)
            ends = await asyncio.gather(
                *(book(db, key, started, guard) for key in "ab"), return_exceptions=True
            )
            assert len(await found(db.tables.Account, "note=taken")) == expected
            failed = [one for one in ends if one is not None]
            assert [type(one) for one in failed] == [WriteConflict] * (2 - expected)
            await db.tables.Account.search().delete()

    run(body)


def test_deleting_what_a_search_finds_belongs_to_the_block(run: Run) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        for number in range(4):
            await accounts.put(f"k{number}", {"amount": number})
        with pytest.raises(KeyError):
            async with db.transaction():
                assert await accounts.query("amount=ge=2").delete() == 2
                assert await accounts.search().count() == 2
                raise KeyError
        assert await accounts.search().count() == 4

    run(body)


def test_results_cannot_be_read_after_the_end(run: Run) -> None:
    """They are of a transaction that is over."""

    async def body(db: EmbeddedDatabase) -> None:
        for key in "ab":
            await db.tables.Account.put(key, {})
        async with db.transaction():
            results = aiter(db.tables.Account.search())
            await anext(results)
        with pytest.raises(RuntimeError, match="is committed"):
            await anext(results)

    run(body)


def test_many_that_count_up_by_reading_lose_nothing(run: Run) -> None:
    """Read, add one, write: each conflict is tried again, and the sum is exact."""

    async def body(db: EmbeddedDatabase) -> None:
        accounts = db.tables.Account
        await accounts.put("a", {"amount": 0})

        async def once() -> None:
            record = await accounts.get("a")
            assert record is not None
            await asyncio.sleep(0)
            await accounts.put("a", {"amount": record["amount"] + 1})

        await asyncio.gather(*(db.transaction(retries=100).run(once) for _ in range(20)))
        assert await accounts.get("a") == {"id": "a", "amount": 20}

    run(body)
