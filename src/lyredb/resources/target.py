"""What a path or topic names: a table, a collection, a record or one of its attributes."""

from __future__ import annotations

from typing import Literal

import msgspec

from lyredb.errors import UnsupportedOperation
from lyredb.storage.keys import KeyValue
from lyredb.tables.stored import StoredTable

TargetKind = Literal["table", "collection", "record", "property"]

ROOT_KEY = b""
"""The key of a table's root topic: messages can be published there, no record can."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """What a path names, once resolved; a struct because each request makes one.

    Attributes:
        kind: ``table`` (``/Sensor``, as a topic the table's root), ``collection``
            (``/Sensor/`` or ``/Sensor/prefix/``), ``record`` or ``property``.
        table: The table it lies in.
        topic: The exact topic of a record, table or property; for a collection the
            topic filter that matches what lies in it.
        id: The record's key as a value, ``None`` unless record or property.
        key: The encoded key, ``b""`` unless record or property.
        prefix: Of a collection below a prefix, with its trailing slash, else ``""``.
        attribute: Of a property, else ``""``.
    """

    kind: TargetKind
    table: StoredTable
    topic: str
    id: KeyValue | None = None
    key: bytes = ROOT_KEY
    prefix: str = ""
    attribute: str = ""

    @property
    def filter(self) -> str:
        """The topic filter of who subscribes to it; a table means all of its topics.

        Raises:
            UnsupportedOperation: It is an attribute, which has no topic of its own.
        """
        match self.kind:
            case "property":
                raise UnsupportedOperation("subscribe to the whole record", allowed=("GET", "HEAD"))
            case "table":
                return f"{self.topic}/#"
            case _:
                return self.topic
