"""Paths that end in the name of a format: ``/Sensor/a.cbor``, ``/Sensor/.json?query``.

The dot belongs to the id when there is such a record; only else it chooses the format.
"""

from __future__ import annotations

from lyredb.formats import AnswerFormat, force_format


def split_extension(path: str) -> tuple[str, AnswerFormat] | None:
    """Return the path without its ending and the format, ``None`` when it has none."""
    base, dot, ending = path.rpartition(".")
    found = force_format(ending) if dot else None
    return None if found is None else (base, found)
