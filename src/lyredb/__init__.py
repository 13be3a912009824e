"""LyreDB: a distributed real-time database in which every table is a topic.

``async with lyredb.open(path, schema=…) as db`` gives a database in this process;
``lyredb run APP`` starts a server. Names are imported when they are first used, so
that ``import lyredb`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lyredb.server.embedded import open as open
    from lyredb.tables.declare import (
        GENERATED,
        ID,
        BigInt,
        Blob,
        Col,
        CreatedTime,
        ExpiresAt,
        Export,
        Indexed,
        Int32,
        Key,
        Nested,
        Rel,
        String,
        Table,
        UpdatedTime,
        computed,
        create_blob,
        field,
        relationship,
    )

_HOMES = {
    "open": "lyredb.server.embedded",
    **dict.fromkeys(
        (
            "GENERATED",
            "ID",
            "BigInt",
            "Blob",
            "Col",
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
        ),
        "lyredb.tables.declare",
    ),
}

__all__ = [
    "GENERATED",
    "ID",
    "BigInt",
    "Blob",
    "Col",
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
    "open",
    "relationship",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lyredb' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
