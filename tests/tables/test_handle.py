"""What code does with a table, against a gateway that notes what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, cast

import pytest

from lyredb.errors import InvalidQuery
from lyredb.storage.blob import PackedBlob
from lyredb.storage.keys import KeyValue
from lyredb.tables.binding import bind, gateway_for, unbind
from lyredb.tables.declare import GENERATED, Col, Key, Nested, Table, field
from lyredb.tables.gateway import Beginning, Event, RecordWritten, WriteKind
from lyredb.tables.handle import DictShape, TableHandle
from lyredb.tables.query.parse_object import read_where
from lyredb.tables.query.terms import Query


class Place(Nested):
    city: Col[str]


class Counter(Table, database="test"):
    key: Key[str] = field(default=GENERATED)
    n: Col[int | None] = field(default=None)
    class_: Col[int | None] = field(default=None, name="class")
    place: Col[Place | None] = field(default=None)


class Source:
    """Two events, then the end."""

    def __init__(self) -> None:
        self.events: list[Event[object]] = [
            Event("put", {"key": "a", "n": 1}, "a", "p1", current=True),
            Event("message", {"n": 2}, "a"),
        ]
        self.closed = False

    async def next_event(self) -> Event[object]:
        if not self.events:
            raise StopAsyncIteration
        return self.events.pop(0)

    async def close(self) -> None:
        self.closed = True


class Gateway:
    """Implements `lyredb.tables.gateway.Gateway` by notes."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.source = Source()

    def blob_names(self, table: str) -> tuple[str, ...]:
        """None of these tables has any."""
        return ()

    def read_blob(self, blob: PackedBlob) -> AsyncIterator[bytes]:
        """Nobody asks."""
        raise NotImplementedError

    async def read_record(self, table: str, id: KeyValue) -> dict[str, object] | None:
        self.asked.append(("read", table, id))
        return {"key": id, "n": 1} if id == "a" else None

    async def write_record(
        self,
        table: str,
        kind: WriteKind,
        id: KeyValue | None,
        value: Mapping[str, object] | None = None,
    ) -> RecordWritten:
        self.asked.append((kind, id, None if value is None else dict(value)))
        return RecordWritten("made" if id is None else id, existed=True)

    async def publish_message(self, table: str, id: KeyValue | None, message: object) -> None:
        self.asked.append(("publish", id, message))

    def find_records(self, table: str, query: Query) -> Iterator[object]:
        self.asked.append(("find", query))
        if query.select:
            return iter([1, 2])
        return iter([{"key": "a"}, {"key": "b"}])

    async def count_records(self, table: str, query: Query) -> int:
        self.asked.append(("count", query))
        return 2

    async def delete_records(self, table: str, query: Query) -> int:
        self.asked.append(("delete", query))
        return 2

    def path_of(self, table: str) -> str | None:
        return "plant/Counter" if table == "test.Counter" else None

    def follow_records(self, table: str, id: KeyValue | None, start: Beginning) -> Source:
        self.asked.append(("follow", id, start))
        return self.source


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """The one open database with the table."""
    made = Gateway()
    bind(made, [Counter])
    yield made
    unbind(made)


def test_get_gives_an_instance_or_none(gateway: Gateway) -> None:
    """Reading by key."""

    async def body() -> None:
        assert await Counter.get("a") == Counter(key="a", n=1)
        assert await Counter.get("b") is None

    asyncio.run(body())
    assert gateway.asked == [("read", "test.Counter", "a"), ("read", "test.Counter", "b")]


def test_put_takes_the_key_from_the_record_or_beside_it(gateway: Gateway) -> None:
    """Without one a record is created with a new key."""

    async def body() -> None:
        assert await Counter.put(Counter(key="a", place=Place(city="x"))) == "a"
        assert await Counter.put("b", Counter(n=1)) == "b"
        assert await Counter.put("c", {"n": 2}) == "c"
        assert await Counter.put(Counter(n=3)) == "made"
        assert await Counter.put(Counter(key=GENERATED)) == "made"
        with pytest.raises(TypeError, match="expected a Counter or a mapping, got int"):
            await Counter.put("d", 3)  # type: ignore[call-overload]  # the mistake in question

    asyncio.run(body())
    assert gateway.asked == [
        ("put", "a", {"key": "a", "place": {"city": "x"}}),
        ("put", "b", {"n": 1}),
        ("put", "c", {"n": 2}),
        ("create", None, {"n": 3}),
        ("create", None, {}),
    ]


def test_changes_go_by_python_names_or_record_names(gateway: Gateway) -> None:
    """``class_`` is ``class`` in the record."""

    def adding(amount: float) -> object:
        return {"__op__": "add", "value": amount}

    async def body() -> None:
        await Counter.patch("a", {"class": 1}, n=None, place=Place(city="x"))
        await Counter.add("a", n=1, class_=-2.5)
        assert await Counter.delete("a")
        await Counter.publish(None, [Place(city="x"), b"raw"])

    asyncio.run(body())
    assert gateway.asked == [
        ("patch", "a", {"class": 1, "n": None, "place": {"city": "x"}}),
        ("patch", "a", {"n": adding(1), "class": adding(-2.5)}),
        ("delete", "a", None),
        ("publish", None, [{"city": "x"}, b"raw"]),
    ]  # fmt: skip


def test_search_is_read_as_far_as_one_wants(gateway: Gateway) -> None:
    """As a list, the first, or one after the other; wrong conditions are refused at once."""

    async def body() -> None:
        assert await Counter.search(Counter.n == 1, limit=5).list() == [
            Counter(key="a"),
            Counter(key="b"),
        ]
        assert await Counter.search().first() == Counter(key="a")
        assert [value async for value in Counter.search(select="n")] == [1, 2]
        with pytest.raises(InvalidQuery):
            Counter.search(("n", "greater", 3))

    asyncio.run(body())
    assert gateway.asked[0] == ("find", Query(read_where(("n", 1)), limit=5))


def test_a_subscription_wraps_records_and_ends_with_its_block(gateway: Gateway) -> None:
    """Messages stay what they are."""

    async def body() -> None:
        async with Counter.subscribe("a", after="p0") as events:
            first, second = [cast("Event[object]", event) async for event in events]
            assert first == Event("put", Counter(key="a", n=1), "a", "p1", current=True)
            assert second == Event("message", {"n": 2}, "a")
            assert not gateway.source.closed
        assert gateway.source.closed

    asyncio.run(body())
    assert gateway.asked == [("follow", "a", Beginning(omit_current=False, after="p0"))]


def test_a_dynamic_table_has_dictionaries(gateway: Gateway) -> None:
    """The same methods without a class."""
    table = TableHandle(gateway, "test.Counter", DictShape("key"))

    async def body() -> None:
        assert await table.get("a") == {"key": "a", "n": 1}
        assert await table.put({"key": "x"}) == "x"
        assert await table.search().list() == [{"key": "a"}, {"key": "b"}]
        with pytest.raises(TypeError, match="a record is a mapping"):
            await table.put(3)  # type: ignore[call-overload]  # the mistake in question

    asyncio.run(body())


def test_methods_of_a_class_need_one_open_database() -> None:
    """None and several are errors that say what to do."""
    with pytest.raises(RuntimeError, match=r"no open database has the table test\.Counter"):
        gateway_for(Counter)
    first, second = Gateway(), Gateway()
    bind(first, ["test.Counter"])
    bind(second, ["test.Other"])
    assert gateway_for(Counter) is first
    bind(second, ["test.Counter"])
    with pytest.raises(RuntimeError, match=r"2 open databases .* use db\[…\]"):
        gateway_for(Counter)
    unbind(second)
    assert gateway_for("test.Counter") is first
    unbind(first)
    unbind(first)
    with pytest.raises(RuntimeError, match="no open database"):
        gateway_for(Counter)


class Derived(Counter, database="test"):
    pass


class Stranger(Table):
    n: Col[int]


def test_columns_of_another_table_are_refused_in_a_search(gateway: Gateway) -> None:
    """They would find something only by chance; inherited ones are the table's own."""
    message = "Stranger.n is a column of Stranger, and this searches test.Counter"
    with pytest.raises(InvalidQuery, match=message):
        Counter.search((Counter.n == 1) & (Stranger.n == 2))
    dynamic = TableHandle(gateway, "test.Counter", DictShape("key"))
    with pytest.raises(InvalidQuery, match=message):
        dynamic.search(Stranger.n == 2)
    with pytest.raises(InvalidQuery, match=r"holds it before: Table\.column\[Place\.city\]"):
        Counter.search(Place.city == "x")
    derived = TableHandle(gateway, "test.Derived", DictShape("key"))
    derived.search(Derived.n == 1).run()
    with pytest.raises(InvalidQuery, match=message):
        dynamic.where(Counter.n == 1).order_by(Stranger.n.desc())
    assert gateway.asked == [("find", Query(read_where(("n", 1))))]


def test_put_of_nothing_is_told_what_to_do(gateway: Gateway) -> None:
    """``None`` was passed, so the key is no record."""

    async def body() -> None:
        for put in (Counter.put, TableHandle(gateway, "test.Counter", DictShape("key")).put):
            with pytest.raises(TypeError, match=r"put needs a record, got None; delete\(id\)"):
                await put("k", None)  # type: ignore[call-overload]  # the mistake in question

    asyncio.run(body())
    assert gateway.asked == []
