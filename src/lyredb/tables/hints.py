"""Did you mean …: the nearest of the names that would have been right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name most like this one, ``""`` when none is near."""
    by_lower = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def did_you_mean(name: str, known: Iterable[str], *, mark: str = "") -> str:
    """Return ``"; did you mean X?"``, or nothing when no known name is near.

    Args:
        name: What was written.
        known: What would have been right.
        mark: Put before the name, such as ``@`` of a directive.
    """
    found = nearest(name, known)
    return f"; did you mean {mark}{found}?" if found else ""
