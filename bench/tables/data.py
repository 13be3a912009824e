"""Data that is the same in every run: sites, and readings of sensors that stand at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

SCHEMA: Final = """\
type Site @table @export {
    id: ID @primaryKey
    name: String
    region: String @indexed
}
type Reading @table @export {
    id: ID @primaryKey
    sensor: String @indexed
    siteId: ID
    value: Float @indexed
    at: Long
    note: String
    site: Site @relationship(from: "siteId")
}
"""
ONE_INDEX: Final = """\
type Reading @table @export {
    id: ID @primaryKey
    sensor: String @indexed
    siteId: ID
    value: Float
    at: Long
    note: String
}
"""
SITES: Final = 1_000
REGIONS: Final = 4
ROWS_A_SENSOR: Final = 20
VALUES: Final = 1_000_000
"""Values are below it, spread evenly."""
NEEDLE: Final = "overheated"
NEEDLE_EVERY: Final = 5_000
FIRST_AT: Final = 1_700_000_000_000
_SPREAD: Final = 2_654_435_761
"""A prime (Knuth's): multiples of it, modulo a number that it does not divide, meet each once."""
_NOTES: Final = (
    "measured by the field unit, calibrated in spring",
    "taken over from the old station without changes",
    "mean of ten samples within the last ten seconds",
    "first value after the sensor was started again",
)


def sensors(records: int) -> int:
    """Return how many sensors there are: each has 20 readings."""
    return max(1, records // ROWS_A_SENSOR)


def key(number: int) -> str:
    """Return the key of a reading; keys are in the order of the numbers."""
    return f"r{number:08d}"


def sensor(number: int) -> str:
    """Return the name of a sensor."""
    return f"s{number:07d}"


def site(number: int) -> dict[str, object]:
    """Return a site."""
    return {"id": f"site{number}", "name": f"Site {number}", "region": f"region{number % REGIONS}"}


def reading(number: int, records: int) -> dict[str, object]:
    """Return a reading: neighbours by key are of different sensors, sites and values."""
    spread = number * _SPREAD
    note = _NOTES[number % len(_NOTES)]
    return {
        "id": key(number),
        "sensor": sensor(spread % sensors(records)),
        "siteId": f"site{(spread >> 7) % SITES}",
        "value": float(spread % (VALUES * 100)) / 100,
        "at": FIRST_AT + number * 1_000,
        "note": f"{note}, {NEEDLE}" if number % NEEDLE_EVERY == 0 else note,
    }


def sites() -> Iterator[Mapping[str, object]]:
    """Yield all sites."""
    return map(site, range(SITES))


def readings(records: int) -> Iterator[Mapping[str, object]]:
    """Yield so many readings in the order of their keys."""
    return (reading(number, records) for number in range(records))
