"""Searches that code builds: expressions of columns, and what is asked of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from lyredb.errors import InvalidQuery, UnknownTopic
from lyredb.formats import PAUSE
from lyredb.tables.binding import bind, unbind
from lyredb.tables.declare import Col, Indexed, Key, Nested, Table, UpdatedTime, field
from lyredb.tables.gateway import Beginning
from lyredb.tables.handle import DictShape, TableHandle
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import Condition, Group, Query, Select, Selected, SortKey
from lyredb.tables.search import Found
from tests.tables.test_handle import Gateway


class Place(Nested):
    city: Col[str]
    floor: Col[int]


class Sensor(Table, database="test", name="Counter"):
    id: Key[str]
    value: Indexed[float]
    site: Col[str | None] = field(default=None, name="where is")
    tags: Col[list[str]]
    place: Col[Place]
    at = UpdatedTime()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """The one open database with the table."""
    made = Gateway()
    bind(made, [Sensor])
    yield made
    unbind(made)


def _condition(comparator: Any, value: object, *path: str) -> Condition:
    return Condition(path or ("value",), comparator, value)


@pytest.mark.parametrize(
    ("made", "meant"),
    [
        (Sensor.value == 3, _condition("equals", 3)),
        (Sensor.value != 3, _condition("not_equal", 3)),
        (Sensor.value < 3, _condition("less_than", 3)),
        (Sensor.value <= 3, _condition("less_than_equal", 3)),
        (Sensor.value > 3, _condition("greater_than", 3)),
        (Sensor.value >= 3, _condition("greater_than_equal", 3)),
        (Sensor.value.in_([1, 2]), _condition("in", (1, 2))),
        (Sensor.value.in_(range(2)), _condition("in", (0, 1))),
        (Sensor.value.between(1, 2), _condition("between", (1, 2))),
        (Sensor.site.startswith("n"), _condition("starts_with", "n", "where is")),
        (Sensor.site.endswith("n"), _condition("ends_with", "n", "where is")),
        (Sensor.site.contains("n"), _condition("contains", "n", "where is")),
        (Sensor.site.is_null(), _condition("equals", None, "where is")),
        (Sensor.id.has_prefix("a", "b"), _condition("prefix", ("a", "b"), "id")),
        (Sensor.tags == "x", _condition("equals", "x", "tags")),
        (Sensor.tags > "x", _condition("greater_than", "x", "tags")),
        (Sensor.place[Place.city] == "x", _condition("equals", "x", "place", "city")),
        (Sensor.place["floor"] > 2, _condition("greater_than", 2, "place", "floor")),
        (
            Sensor.place == Place(city="x", floor=1),
            _condition("equals", {"city": "x", "floor": 1}, "place"),
        ),
    ],
)  # fmt: skip
def test_columns_make_conditions(made: Condition, meant: Condition) -> None:
    """Each comparison is the term of the same name, under the attribute's name in records."""
    assert made == meant
    assert made.owner is Sensor


def test_conditions_are_joined_by_operators() -> None:
    """Flat where the same operator joins already."""
    a, b, c = Sensor.value > 1, Sensor.value < 5, Sensor.site == "n"
    assert a & b & c == Group("and", (a, b, c))
    assert a & (b | c) == Group("and", (a, Group("or", (b, c))))
    assert ~(a & b) == Group("not", (Group("and", (a, b)),))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: (Sensor.value > 1) and (Sensor.value < 5),
        lambda: (Sensor.value > 1) or (Sensor.value < 5),
        lambda: not (Sensor.value > 1),
        lambda: 1 < Sensor.value < 5,
    ],
)
def test_what_python_would_drop_is_refused(mistake: Any) -> None:
    """``and``, ``or``, ``not`` and a chained comparison would each lose a condition."""
    with pytest.raises(TypeError, match=r"join conditions with `&`"):
        mistake()


def test_a_column_is_no_sequence() -> None:
    """Python would else index it from 0 without end."""
    with pytest.raises(TypeError):
        list(Sensor.tags)  # type: ignore[call-overload]  # the mistake in question
    with pytest.raises(TypeError):
        assert "x" in Sensor.tags  # type: ignore[misc]  # the mistake in question
    with pytest.raises(TypeError, match="a list of values"):
        Sensor.site.in_("abc")


def test_a_search_is_built_step_by_step(gateway: Gateway) -> None:
    """Each step returns another search; the one before stays as it was."""
    first = Sensor.where(Sensor.value > 1)
    second = (
        first.where(Sensor.site == "n", ("tags", "x"))
        .order_by(Sensor.value.desc(), "place.city", Sensor.id)
        .limit(10, 5)
        .select("id", Sensor.value, Sensor.place.select("city"))
        .enforce_order()
        .refuse_full_scan()
    )
    assert first.query == Query(Sensor.value > 1)
    assert second.query == Query(
        Group("and", (Sensor.value > 1, Sensor.site == "n", Sensor.tags == "x")),
        (SortKey(("value",), descending=True), SortKey(("place", "city")), SortKey(("id",))),
        10,
        5,
        Select(
            (
                Selected("id"),
                Selected("value"),
                Selected("place", Select((Selected("city"),), "values")),
            )
        ),
        enforce_order=True,
        allow_full_scan=False,
    )  # fmt: skip


def test_selects_have_the_form_that_is_asked_for(gateway: Gateway) -> None:
    """One name is bare values, a list objects, a list in a list arrays, none the records."""
    search = Sensor.where()
    assert search.select("value").query.select == Select((Selected("value"),), "values")
    assert search.select(["value"]).query.select == Select((Selected("value"),))
    assert search.select([[Sensor.value, "id"]]).query.select == Select(
        (Selected("value"), Selected("id")), "arrays"
    )
    assert search.select("value").select().query.select is None
    with pytest.raises(TypeError, match="by nesting"):
        search.select(Sensor.place[Place.city])


def test_results_are_read_in_several_ways(gateway: Gateway) -> None:
    """Iterated as often as one likes; the first asks for one only."""

    async def body() -> None:
        search = TableHandle(gateway, "test.Counter", DictShape("key")).where(("n", 1))
        assert [one async for one in search] == [{"key": "a"}, {"key": "b"}]
        assert await search.list() == [{"key": "a"}, {"key": "b"}]
        assert await search.first() == {"key": "a"}
        assert await search.count() == 2
        assert await search.delete() == 2
        assert await search.select("n").list() == [1, 2]

    asyncio.run(body())
    query = parse_query("n==1").where
    plain = Query(Condition(("n",), "equals", 1))
    assert query is not None
    assert gateway.asked[:5] == [
        ("find", plain),
        ("find", plain),
        ("find", Query(plain.where, limit=1)),
        ("count", plain),
        ("delete", plain),
    ]


def test_an_explanation_is_asked_for_as_a_query(gateway: Gateway) -> None:
    """It is the one result of the query that asks for it."""

    async def body() -> None:
        await Sensor.where(Sensor.value > 1).explain()

    asyncio.run(body())
    assert gateway.asked == [("find", Query(Sensor.value > 1, explain=True))]


def test_dropping_the_rest_closes_what_produces_it() -> None:
    """The end of the block reaches the generator at once; pauses are no results."""
    ended = []

    def produce() -> Iterator[object]:
        try:
            yield from (PAUSE, 1, PAUSE, 2)
        finally:
            ended.append(True)

    async def body() -> None:
        async with Found[int](produce(), None) as found:
            assert await anext(found) == 1
        assert ended
        assert await found.list() == []

    asyncio.run(body())


def test_only_a_search_for_everything_is_subscribed_to(gateway: Gateway) -> None:
    """Events of records that do not match would be delivered unasked."""
    Sensor.where().subscribe()
    with pytest.raises(InvalidQuery, match="filter the events"):
        Sensor.where(Sensor.value > 1).subscribe()
    assert gateway.asked == [("follow", None, Beginning())]


def test_a_search_has_a_url(gateway: Gateway) -> None:
    """Which means the same over HTTP; a table that is not exported has none."""
    when = datetime(2024, 1, 5, tzinfo=UTC)
    search = Sensor.where((Sensor.value > 1.5) | (Sensor.site == "a b"), Sensor.at < when)
    assert search.order_by(Sensor.value.desc()).limit(3).url() == (
        "/plant/Counter/?[value=gt=1.5|where%20is==a%20b]"
        "&at=lt=date:2024-01-05T00%3A00%3A00%2B00%3A00&sort(-value)&limit(3)"
    )
    assert Sensor.where().url() == "/plant/Counter/"
    with pytest.raises(InvalidQuery, match="cannot be written in a URL"):
        Sensor.where(("tags", ["a"])).url()
    with pytest.raises(UnknownTopic, match="is not exported"):
        TableHandle(gateway, "test.Other", DictShape("id")).where().url()


def test_queries_come_as_objects_and_as_text(gateway: Gateway) -> None:
    """What other interfaces take can be run in code."""
    by_object = Sensor.query({"conditions": [("value", "gt", 3)], "limit": 2, "select": "id"})
    assert by_object.query == Query(
        Sensor.value > 3, limit=2, select=Select((Selected("id"),), "values")
    )
    assert Sensor.query("value=gt=3&limit(2)").query == parse_query("value=gt=3&limit(2)")
    with pytest.raises(InvalidQuery, match="did you mean limit"):
        Sensor.query({"limits": 3})
