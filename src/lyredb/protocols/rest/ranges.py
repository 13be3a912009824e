"""Range requests (RFC 9110 §14): one range of bytes.

Several ranges at a time are answered with the whole, as §14.2 allows: an answer of many
parts costs the server more than it gains the client.
"""

from __future__ import annotations

import re
from typing import Final

from lyredb.errors import RangeNotSatisfiable

_ONE: Final = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)


def range_of(header: str, size: int) -> tuple[int, int] | None:
    """Return first and one past the last byte that ``Range`` asks for.

    Args:
        header: As sent, ``""`` for none.
        size: Of the content.

    Returns:
        ``None`` for all of it: there is no range, or none that is understood.

    Raises:
        RangeNotSatisfiable: No byte of the content is in it.
    """
    found = _ONE.fullmatch(header)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        count = int(found[2])
        if not count or not size:
            raise _unsatisfiable(size)
        return max(0, size - count), size
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None
    if first >= size:
        raise _unsatisfiable(size)
    return first, min(last, size - 1) + 1


def _unsatisfiable(size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"the content has {size} bytes, none of them in the range", size=size
    )
