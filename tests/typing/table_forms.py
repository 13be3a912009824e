"""What a type checker says of typed tables. Checked by mypy; never run.

Each ``assert_type`` is a claim; each ``type: ignore`` is one too, because an ignore that
is not needed is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, assert_type

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
