"""The tables of this application. Each is a REST path and an MQTT topic at once."""

from __future__ import annotations

from lyredb import Col, Indexed, Key, Table, UpdatedTime


class Sensor(Table, export=True):
    """A reading: GET, PUT or subscribe to ``/Sensor/<id>``."""

    id: Key[str]
    place: Indexed[str]
    value: Col[float]
    at = UpdatedTime()
