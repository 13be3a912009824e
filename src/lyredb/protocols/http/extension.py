"""Paths that end in the name of a format: ``/Sensor/a.cbor``, ``/Sensor/.json?query``.

The dot belongs to the id when there is such a record; only else it chooses the format.
"""

from __future__ import annotations

from typing import Final

from lyredb.formats import CBOR, JSON, MSGPACK, StructuredFormat

_ENDINGS: Final[dict[str, StructuredFormat]] = {"json": JSON, "cbor": CBOR, "msgpack": MSGPACK}


def split_extension(path: str) -> tuple[str, StructuredFormat] | None:
    """Return the path without its ending and the format, ``None`` when it has none."""
    base, dot, ending = path.rpartition(".")
    found = _ENDINGS.get(ending)
    return (base, found) if dot and found is not None else None
