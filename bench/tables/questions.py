"""What is asked, in both languages; every answer has to be the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from bench.tables.data import NEEDLE, REGIONS, VALUES, key, sensor, sensors

COLUMNS: Final = "id, sensor, siteId, value, at, note"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question.

    Attributes:
        path: Behind the server's address.
        sql: For SQLite, with its parameters.
        names: The names of the columns of its rows.
        nested: What SQLite's columns behind the names go into, as an attribute of its own.
    """

    path: str
    sql: str
    parameters: tuple[object, ...]
    names: tuple[str, ...] = ("id", "sensor", "siteId", "value", "at", "note")
    nested: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of question.

    Attributes:
        name: For the table of results.
        ask: Makes one, of so many records.
        wanted: At most so many times the cost when there are a hundred times as many records;
            ``None`` for those that have to look at all.
        is_record: The answer is one record, not a list.
    """

    name: str
    ask: Callable[[Random, int], Asked]
    wanted: float | None = 1.3
    is_record: bool = False


def _point(random: Random, records: int) -> Asked:
    wanted = key(random.randrange(records))
    return Asked(f"/Reading/{wanted}", f"SELECT {COLUMNS} FROM Reading WHERE id = ?", (wanted,))


def _by_sensor(random: Random, records: int) -> Asked:
    wanted = sensor(random.randrange(sensors(records)))
    sql = f"SELECT {COLUMNS} FROM Reading WHERE sensor = ?"
    return Asked(f"/Reading/?sensor={wanted}", sql, (wanted,))


def _range(random: Random, records: int) -> Asked:
    least = random.randrange(VALUES * 9 // 10)
    sql = f"SELECT {COLUMNS} FROM Reading WHERE value >= ? ORDER BY value, id LIMIT 20"
    return Asked(f"/Reading/?value=ge={least}&sort(value)&limit(20)", sql, (float(least),))


def _join(random: Random, records: int) -> Asked:
    wanted = sensor(random.randrange(sensors(records)))
    region = f"region{random.randrange(REGIONS)}"
    sql = (
        "SELECT Reading.id, Reading.value, Site.name, Site.region FROM Reading "
        "JOIN Site ON Site.id = Reading.siteId WHERE Reading.sensor = ? AND Site.region = ?"
    )
    path = f"/Reading/?sensor={wanted}&site.region={region}&select(id,value,site{{name,region}})"
    return Asked(path, sql, (wanted, region), ("id", "value"), ("site", "name", "region"))


def _scan(random: Random, records: int) -> Asked:
    sql = f"SELECT {COLUMNS} FROM Reading WHERE instr(note, ?)"
    return Asked(f"/Reading/?note=ct={NEEDLE}", sql, (NEEDLE,))


KINDS: Final = (
    Kind("record by key", _point, is_record=True),
    Kind("20 rows by an index", _by_sensor),
    Kind("range with sort and limit 20", _range),
    Kind("join of two tables", _join),
    Kind("filter over the whole table", _scan, wanted=None),
)


def of_row(asked: Asked, row: tuple[Any, ...]) -> dict[str, object]:
    """Return a row of SQLite as the record that an answer has."""
    record: dict[str, object] = dict(zip(asked.names, row, strict=False))
    if asked.nested:
        name, *names = asked.nested
        record[name] = dict(zip(names, row[len(asked.names) :], strict=True))
    return record
