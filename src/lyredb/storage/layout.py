"""What storage knows of a table: slots, index paths, and the names it must check.

`tables` makes layouts from schemas. Storage knows no types: it extracts the values
at the index paths, checks the attribute names of a merged patch and the bounds of sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

USER_SLOT: Final = 0
ROLE_SLOT: Final = 1
SESSION_SLOT: Final = 2
TOPIC_SLOT: Final = 3
FIRST_FREE_SLOT: Final = 16
"""Slots below it are reserved for tables of the system itself."""
MAX_SLOT: Final = 0xFFFF


class IndexSource(IntEnum):
    """Where the indexed value of a record comes from."""

    BODY = 0
    """The value at `IndexLayout.path` in the body."""
    CREATED = 1
    """The creation time in milliseconds, as a number."""
    UPDATED = 2
    """The time of the last write in milliseconds, as a number."""
    EXPIRES = 3
    """The deadline in epoch milliseconds, as a number; absent when there is none."""
    COMPUTED = 4
    """What `IndexLayout.expression` makes of the body."""


@dataclass(frozen=True, slots=True)
class IndexLayout:
    """One index: its own slot (``x<slot>``) and the path of attribute names to the value.

    Attributes:
        slot: Of the index.
        path: To the value; the name of the attribute alone when it is computed.
        source: Where the value comes from.
        expression: Of a computed value; see `lyredb.storage.expression`.
        version: Of a computed value: another one makes another index.
    """

    slot: int
    path: tuple[str, ...]
    source: IndexSource = IndexSource.BODY
    expression: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class IntegerBounds:
    """An attribute whose sums are integers, from `least` to `greatest`, both included."""

    attribute: str
    least: int
    greatest: int


@dataclass(frozen=True, slots=True)
class TableLayout:
    """One table: its slot, key attribute, indexes and the names of a whole record.

    Attributes:
        slot: Names the databases ``r<slot>`` and ``g<slot>``; 0 to 15 are reserved.
        name: ``<database>.<table>``, for messages and for the layout rows.
        key_attribute: Not part of a stored body.
        indexes: Each with a slot of its own, unique over all tables.
        required: Attributes that a merged patch must have, not null.
        sealed: All attributes that a merged patch may have; ``None`` is an open table.
        bounds: Of attributes that are integers; what a patch adds to must stay within.
        expiration_ms: After its last write a record is gone, 0 for never.
        expires_from: The attribute with the deadline (epoch ms or a date), ``""`` for none;
            where it is absent or null, ``expiration_ms`` holds.
        eviction_ms: A record that is gone is kept so long before it is removed.
        scan_interval_ms: Between removals, 0 for the default.
        blobs: Attributes whose values may be references to files.
    """

    slot: int
    name: str
    key_attribute: str = "id"
    indexes: tuple[IndexLayout, ...] = ()
    required: frozenset[str] = frozenset()
    sealed: frozenset[str] | None = None
    bounds: tuple[IntegerBounds, ...] = ()
    expiration_ms: int = 0
    expires_from: str = ""
    eviction_ms: int = 0
    scan_interval_ms: int = 0
    blobs: tuple[str, ...] = ()
