"""`lyredb.open()`: tables by class and by name, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import lyredb
from lyredb import Col, CreatedTime, Indexed, Key, Table, UpdatedTime, field
from lyredb.errors import (
    DataDirectoryInUse,
    InvalidQuery,
    InvalidRecord,
    ServerStopping,
    SlowSubscriber,
    UnknownTopic,
)
from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.resources.events import MAX_WAITING


class Sensor(Table, export=True):
    id: Key[str]
    value: Col[float]
    site: Indexed[str | None] = field(default=None)
    made = CreatedTime()
    at = UpdatedTime()


class Tally(Table):
    id: Key[int]
    n: Col[int]


DEADLINE_S = 10


def in_database(path: Path, body: Callable[[EmbeddedDatabase], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S), lyredb.open(path, schema=[Sensor, Tally]) as db:
            await body(db)

    asyncio.run(run())


def test_put_then_get_returns_the_instance(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        assert await db[Sensor].put(Sensor(id="a", value=1.5)) == "a"
        sensor = await db[Sensor].get("a")
        assert sensor is not None
        assert (sensor.id, sensor.value, sensor.site) == ("a", 1.5, None)
        assert sensor.made <= sensor.at
        assert await db.tables.Sensor.get("missing") is None

    in_database(tmp_path, body)


def test_patch_add_and_delete_say_what_they_did(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        await db[Tally].put(7, {"n": 1})
        await db[Tally].patch(7, note="x")
        await asyncio.gather(*(db[Tally].add(7, n=2) for _ in range(10)))
        record = await db.tables.Tally.get(7)
        assert record == {"id": 7, "n": 21, "note": "x"}
        assert await db[Tally].delete(7)
        assert not await db[Tally].delete(7)

    in_database(tmp_path, body)


def test_key_is_made_when_the_record_has_none(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        first = await db.tables.Tally.put({"n": 1})
        await db.tables.Tally.put(41, {"n": 1})
        assert first == 1
        assert await db.tables.Tally.put({"n": 2}) == 2
        key = await db.tables.Sensor.put({"value": 1.0})
        assert isinstance(key, str)
        assert len(key) == 36

    in_database(tmp_path, body)


def test_table_class_finds_the_open_database(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        await Sensor.put(Sensor(id="a", value=1.0, site="roof"))
        await Sensor.put(Sensor(id="b", value=2.0, site="hall"))
        found = await Sensor.search(Sensor.site == "roof").list()
        assert [one.id for one in found] == ["a"]
        assert [one.id async for one in Sensor.search(limit=1)] == ["a"]

    in_database(tmp_path, body)


def test_a_subscription_begins_with_what_is_asked_of_the_log(tmp_path: Path) -> None:
    """After a time, or the last changes; what comes later follows."""

    async def body(db: EmbeddedDatabase) -> None:
        begun = datetime.now(UTC) - timedelta(seconds=1)
        for number in range(4):
            await Sensor.put("a", {"value": float(number)})
        for time in (begun, begun.timestamp() * 1000, begun.replace(tzinfo=None)):
            async with Sensor.subscribe("a", start_time=time) as events:
                told = [await anext(events) for _ in range(4)]
            assert [one.value.value for one in told if one.value] == [0, 1, 2, 3]
            assert not any(one.current for one in told)
        async with db.tables.Sensor.subscribe(previous_count=2) as events:
            await Sensor.put("b", {"value": 9.0})
            seen = [(await anext(events)).value for _ in range(3)]
        assert [one["value"] for one in seen if one] == [2, 3, 9]
        async with Sensor.subscribe(start_time=begun + timedelta(days=1)) as events:
            await Sensor.put("c", {"value": 7.0})
            assert (await anext(events)).id == "c"

    in_database(tmp_path, body)


def test_a_beginning_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        with pytest.raises(InvalidQuery):
            Sensor.subscribe(start_time=0, previous_count=2)  # which ones of a whole table?
        with pytest.raises(InvalidQuery):
            Sensor.subscribe("a", previous_count=1001)
        with pytest.raises(InvalidQuery):
            Sensor.subscribe("a", previous_count=-1)
        for no_count in (2.5, "2", True):
            with pytest.raises(InvalidQuery, match="previousCount must be 1 to 1000"):
                Sensor.subscribe("a", previous_count=no_count)  # type: ignore[arg-type]
        with pytest.raises(InvalidQuery):
            Sensor.subscribe("a", start_time=float("nan"))

    in_database(tmp_path, body)


def test_subscribing_gives_state_then_changes_and_messages(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        await Sensor.put("a", {"value": 1.0})
        async with Sensor.subscribe("a") as events:
            await Sensor.put("a", {"value": 2.0})
            await Sensor.publish("a", {"note": "hello"})
            await Sensor.put("b", {"value": 9.0})
            await Sensor.delete("a")
            seen = [await anext(events) for _ in range(4)]
        assert [(one.type, one.current) for one in seen] == [
            ("put", True),
            ("put", False),
            ("message", False),
            ("delete", False),
        ]
        assert isinstance(seen[1].value, Sensor)
        assert seen[1].value.value == 2.0
        assert seen[2].value == {"note": "hello"}

    in_database(tmp_path, body)


def test_subscription_resumes_after_a_position(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        async with db[Sensor].subscribe() as events:
            await db[Sensor].put("a", {"value": 1.0})
            position = (await anext(events)).position
        await db[Sensor].put("b", {"value": 2.0})
        async with db[Sensor].subscribe(after=position) as events:
            assert (await anext(events)).id == "b"

    in_database(tmp_path, body)


def test_prefix_subscription_does_not_contain_its_parent(tmp_path: Path) -> None:
    """`hall/` holds `hall/1` and `hall/1/x`, not the record `hall` or `hallway/1`."""

    async def body(db: EmbeddedDatabase) -> None:
        async with db[Sensor].subscribe("hall/") as events:
            for key in ("hall", "hallway/1", "hall/1", "hall/1/x"):
                await db[Sensor].put(key, {"value": 1.0})
            assert [(await anext(events)).id for _ in range(2)] == ["hall/1", "hall/1/x"]

    in_database(tmp_path, body)


def test_wrong_record_is_refused_and_nothing_is_told(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        async with db[Sensor].subscribe() as events:
            with pytest.raises(InvalidRecord, match="value"):
                await db[Sensor].put("a", {"value": "warm"})
            await db[Sensor].put("b", {"value": 1.0})
            assert (await anext(events)).id == "b"

    in_database(tmp_path, body)


def test_slow_loop_is_ended_and_can_resume_without_a_gap(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        table = db.tables.Tally
        events = table.subscribe()
        for start in range(0, MAX_WAITING + 1_000, 1_000):
            await asyncio.gather(*(table.put(start + n, {"n": n}) for n in range(1_000)))
        seen: list[object] = []
        position = ""

        async def read_on() -> None:
            nonlocal position
            async for event in events:
                seen.append(event.id)
                position = event.position

        with pytest.raises(SlowSubscriber):
            await read_on()
        async with table.subscribe(after=position) as rest:
            while len(seen) < MAX_WAITING + 1_000:
                seen.append((await anext(rest)).id)
        assert seen == list(range(MAX_WAITING + 1_000))

    in_database(tmp_path, body)


async def read_all(events: AsyncIterator[object]) -> None:
    async for _ in events:
        pass


def test_large_events_that_wait_are_bounded_by_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lyredb.resources.events.MAX_WAITING_BYTES", 50_000)

    async def body(db: EmbeddedDatabase) -> None:
        async with db.tables.Tally.subscribe() as events:
            for number in range(20):
                await db.tables.Tally.put(number, {"n": number, "text": "x" * 5_000})
            seen = [(await anext(events)).id for _ in range(10)]
            assert seen == list(range(10)), "what has arrived is told before the end"
            with pytest.raises(SlowSubscriber, match="50000 bytes"):
                await asyncio.wait_for(read_all(events), DEADLINE_S)

    in_database(tmp_path, body)


def test_closing_the_database_ends_iteration_with_a_reason(tmp_path: Path) -> None:
    async def run() -> None:
        async with lyredb.open(tmp_path, schema=[Sensor]) as db:
            events = db[Sensor].subscribe()
            await db[Sensor].put("a", {"value": 1.0})
        assert (await anext(events)).id == "a"
        with pytest.raises(ServerStopping):
            await anext(events)

    asyncio.run(run())


def test_second_open_of_the_directory_is_refused(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        with pytest.raises(DataDirectoryInUse):
            async with lyredb.open(tmp_path, schema=[Sensor]):
                pass

    in_database(tmp_path, body)


def test_unknown_table_is_named_with_a_hint(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        with pytest.raises(UnknownTopic, match=r"data\.Sensor"):
            db.tables["Sensr"]
        with pytest.raises(AttributeError):
            _ = db.tables.Nothing

    in_database(tmp_path, body)


def test_records_outlive_the_process_and_a_schema_change(tmp_path: Path) -> None:
    async def first() -> None:
        async with lyredb.open(
            tmp_path, schema="type T @table { id: ID @primaryKey n: Int }"
        ) as db:
            await db.tables.T.put("a", {"n": 1})
            await db.tables.T.put("b", {"n": 2})

    async def second() -> None:
        schema = "type T @table { id: ID @primaryKey n: Int @indexed }"
        async with lyredb.open(tmp_path, schema=schema) as db:
            assert await db.tables.T.search(("n", 2)).list() == [{"id": "b", "n": 2}]

    asyncio.run(first())
    asyncio.run(second())


def test_call_from_another_event_loop_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    async def body(db: EmbeddedDatabase) -> None:
        async def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="event loop"):
                await db[Sensor].put("a", {"value": 1.0})
            with pytest.raises(RuntimeError, match="event loop"):
                await db[Sensor].publish("a", {"value": 1.0})
            with pytest.raises(RuntimeError, match="event loop"):
                db[Sensor].subscribe("a")

        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        await db[Sensor].put("a", {"value": 2.0})

    in_database(tmp_path, body)


@pytest.mark.parametrize(
    ("given", "way"),
    [
        ("Sensor", r"db\.tables\['Sensor'\]"),
        (5, r'db\.tables\["Name"\]'),
        (Table, "a class derived from Table"),
        (str, "a class derived from Table"),
    ],
)
def test_what_is_no_table_class_is_told_the_way(tmp_path: Path, given: object, way: str) -> None:
    """A name in brackets is the usual slip."""

    async def body(db: EmbeddedDatabase) -> None:
        with pytest.raises(TypeError, match=way):
            db[given]  # type: ignore[index]  # the mistake in question

    in_database(tmp_path, body)
