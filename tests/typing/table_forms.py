"""What a type checker says of typed tables. Checked by mypy; never run.

Each ``assert_type`` is a claim; each ``type: ignore`` is one too, because an ignore that
is not needed is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, assert_type

from lyredb.tables.comparing import Path
from lyredb.tables.declare import (
    GENERATED,
    BigInt,
    Col,
    CreatedTime,
    Indexed,
    Int32,
    Key,
    Nested,
    Table,
    UpdatedTime,
    field,
)
from lyredb.tables.gateway import Event, Gateway
from lyredb.tables.handle import DictShape, TableHandle
from lyredb.tables.query.terms import Condition, Group
from lyredb.tables.search import Search


class Place(Nested, sealed=True):
    city: Col[str]
    floor: Col[int | None] = field(default=None)


class Sensor(Table, export=True, expires_s=3600):
    id: Key[str]
    value: Indexed[float]
    site: Col[str | None] = field(default=None)
    tags: Col[list[str] | None] = field(default=None)
    place: Col[Place | None] = field(default=None)
    small: Col[Int32 | None] = field(default=None)
    big: Col[BigInt | None] = field(default=None)
    made = CreatedTime()
    at = UpdatedTime(float)


class Tagged(Table):
    id: Key[str]
    tags: Col[list[str]]


class Reading(Table):
    id: Key[int] = field(default=GENERATED)
    value: Col[float]


def columns_make_conditions() -> None:
    """At the class a column is a column."""
    assert_type(Sensor.value, Indexed[float])
    assert_type(Sensor.id, Key[str])
    assert_type(Sensor.at, UpdatedTime[float])
    assert_type(Sensor.value == 3, Condition)
    assert_type((Sensor.value == 3) & (Sensor.site == "north"), Group)
    assert_type((Sensor.value > 30) | ~(Sensor.value <= 3.5), Group)
    assert_type(3 < Sensor.value, Condition)  # noqa: SIM300  # reflected on purpose
    assert_type(Sensor.value.between(1, 2.5), Condition)
    assert_type(Sensor.site.in_(["north", None]), Condition)
    assert_type(Sensor.site.startswith("n"), Condition)
    assert_type(Sensor.made < datetime.now(UTC), Condition)
    _ = Sensor.value > "x"  # type: ignore[operator]  # a number is not compared with text
    Sensor.value.between("a", "b")  # type: ignore[arg-type]  # nor does it lie in it
    Sensor.value.in_(["x"])  # type: ignore[list-item]  # nor is it one of some
    Sensor.value.startswith(3)  # type: ignore[arg-type]  # text


def lists_are_compared_by_their_elements() -> None:
    """One element that fulfils the condition is enough."""
    assert_type(Tagged.tags == "x", Condition)
    assert_type(Tagged.tags > "x", Condition)
    assert_type(Tagged.tags.in_(["x", "y"]), Condition)
    assert_type(Tagged.tags.between("a", "c"), Condition)
    _ = Tagged.tags > 3  # type: ignore[operator]  # its elements are text


def paths_keep_the_inner_type() -> None:
    """Through an object or a related record to what is compared."""
    assert_type(Sensor.place[Place.city], Path[str])
    assert_type(Sensor.place[Place.city] > "x", Condition)
    assert_type(Sensor.place["floor"], Path[Any])
    _ = Sensor.place[Place.city] > 3  # type: ignore[operator]  # the city is text


async def searches_are_typed() -> None:
    """Records until something is selected of them."""
    search = Sensor.where(Sensor.value > 30, Sensor.site == "north")
    assert_type(search, Search[Sensor])
    assert_type(search.order_by(Sensor.value.desc(), "site").limit(3, 1), Search[Sensor])
    assert_type(search.select(Sensor.value, "site"), Search[Any])
    assert_type(await search.list(), list[Sensor])
    assert_type(await search.first(), Sensor | None)
    assert_type(await search.count(), int)
    assert_type(await search.delete(), int)
    assert_type(search.url(), str)
    async for sensor in search:
        assert_type(sensor, Sensor)
    async with search.run() as found:
        assert_type(await anext(found), Sensor)
    Sensor.where(3)  # type: ignore[arg-type]  # no condition


def instances_have_values(sensor: Sensor) -> None:
    """At an instance it is the value, of its own type."""
    assert_type(sensor.value, float)
    assert_type(sensor.site, str | None)
    assert_type(sensor.tags, list[str] | None)
    assert_type(sensor.place, Place | None)
    assert_type(sensor.small, int | None)
    assert_type(sensor.big, int | None)
    assert_type(sensor.made, datetime)
    assert_type(sensor.at, float)
    sensor.value = 4
    sensor.value = "4"  # type: ignore[assignment]  # a Float is no text
    sensor.site = None
    sensor.value = None  # type: ignore[assignment]  # required
    sensor.valuex = 4  # type: ignore[attr-defined]  # misspelt


def constructors_are_typed() -> None:
    """Named arguments, each of its column's type; server-set times are no arguments."""
    Sensor(id="a", value=1.0)
    Sensor(id="a", value=1, site=None, place=Place(city="x"))
    Reading(value=1.0)
    Sensor(id="a")  # type: ignore[call-arg]  # value is required
    Sensor(id=1, value=1.0)  # type: ignore[arg-type]  # the key is text
    Sensor(id="a", value=1.0, at=3.0)  # type: ignore[call-arg]  # set by the server
    Sensor("a", 1.0)  # type: ignore[call-arg]  # by name only
    Place(town="x")  # type: ignore[call-arg]  # misspelt


async def methods_are_typed() -> None:
    """What comes back is the class's own."""
    assert_type(await Sensor.get("a"), Sensor | None)
    await Sensor.put(Sensor(id="a", value=1.0))
    await Sensor.put("a", {"value": 1.0})
    await Sensor.put(Reading(value=1.0))  # type: ignore[call-overload]  # another table's
    assert_type(await Sensor.delete("a"), bool)
    await Sensor.add("a", value=1)
    await Sensor.add("a", value="1")  # type: ignore[arg-type]  # a number
    await Sensor.patch("a", value=1, site=None)
    found = Sensor.search((Sensor.value == 3) & (Sensor.site == "x"), limit=3)
    assert_type(await found.list(), list[Sensor])
    assert_type(await Sensor.search(("value", 3)).first(), Sensor | None)
    assert_type(await Sensor.search(select="value").list(), list[Any])
    async for sensor in Sensor.search():
        assert_type(sensor, Sensor)
    async with Sensor.subscribe("a") as events:
        async for event in events:
            assert_type(event, Event[Sensor])
            assert_type(event.value, Sensor | None)


async def handles_are_typed(gateway: Gateway) -> None:
    """The dynamic form gives dictionaries."""
    table = TableHandle(gateway, "data.Sensor", DictShape("id"))
    assert_type(await table.get("a"), dict[str, object] | None)
    assert_type(await table.search().list(), list[dict[str, object]])
    events: AsyncIterator[Event[dict[str, object]]] = table.subscribe()
    del events
