"""The tables of the weather example. Each is a REST path and an MQTT topic at once."""

from __future__ import annotations

from lyredb import Col, Key, Table, UpdatedTime, field


class Weather(Table, export=True):
    """An observation.

    ``/Weather/seattle`` is the latest of a place, ``/Weather/seattle/2012-01-31`` that
    of a day and ``/Weather/san-francisco/2010-01-31T15`` that of an hour. Temperatures
    are in °C, wind is in m/s, precipitation in mm.
    """

    id: Key[str]
    name: Col[str | None] = field(default=None)
    time: Col[str | None] = field(default=None)
    temperature: Col[float | None] = field(default=None)
    high: Col[float | None] = field(default=None)
    low: Col[float | None] = field(default=None)
    wind: Col[float | None] = field(default=None)
    precipitation: Col[float | None] = field(default=None)
    weather: Col[str | None] = field(default=None)
    updated = UpdatedTime()


class Source(Table, export=True):
    """Who sends observations: ``/Source/replay`` is the program that replays them."""

    id: Key[str]
    state: Col[str]
    mqttPort: Col[int | None] = field(default=None)
    daysPerSecond: Col[float | None] = field(default=None)
    updated = UpdatedTime()
