"""Tables as typed Python classes.

::

    class Sensor(Table, export=True):
        id: Key[str]
        value: Indexed[float]
        site: Col[str | None] = field(default=None)
        at = UpdatedTime()

An instance wraps the record it stands for. At the class a column is what conditions are
made of: ``Sensor.value == 3``.
"""

from lyredb.tables.blob import Blob, create_blob
from lyredb.tables.declare.columns import (
    Col,
    Column,
    CreatedTime,
    ExpiresAt,
    Indexed,
    Key,
    Rel,
    UpdatedTime,
)
from lyredb.tables.declare.markers import ID, BigInt, Int32, String
from lyredb.tables.declare.nested import Nested
from lyredb.tables.declare.options import GENERATED, computed, field, relationship
from lyredb.tables.declare.schema_of import schema_of
from lyredb.tables.declare.table import Table
from lyredb.tables.schema import Export

__all__ = [
    "GENERATED",
    "ID",
    "BigInt",
    "Blob",
    "Col",
    "Column",
    "CreatedTime",
    "ExpiresAt",
    "Export",
    "Indexed",
    "Int32",
    "Key",
    "Nested",
    "Rel",
    "String",
    "Table",
    "UpdatedTime",
    "computed",
    "create_blob",
    "field",
    "relationship",
    "schema_of",
]
