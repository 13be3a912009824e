"""Whether a record's value is the one that is looked for."""

from __future__ import annotations

from collections.abc import Mapping

from lyredb.storage.keys import ABSENT


def matches(stored: object, wanted: object) -> bool:
    """Tell whether an attribute's value equals the wanted one; a list, if an element does.

    Args:
        stored: The value, `ABSENT` when the record has none. Null is found by null only,
            and absence by nothing.
        wanted: As `condition_value` gives it.
    """
    if stored is ABSENT:
        return False
    if isinstance(stored, (list, tuple)) and not isinstance(wanted, (list, tuple)):
        return any(equal(element, wanted) for element in stored)
    return equal(stored, wanted)


def equal(left: object, right: object) -> bool:
    """Compare as the index does: 1 is 1.0, but true is not 1; objects by their content."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    return left == right
