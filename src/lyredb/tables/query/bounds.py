"""How large a query may be, before anybody looks at data: bounds of its text and form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lyredb.errors import InvalidQuery


@dataclass(frozen=True, slots=True)
class QueryBounds:
    """What a reader of queries takes. What a query may cost is decided elsewhere.

    Attributes:
        characters: Of the text in a URL; servers and proxies take no longer lines either.
        conditions: In all groups together; reading and planning stay below some milliseconds.
        depth: Of groups in groups, and of selects in selects. People write 2 or 3; it bounds
            the recursion of everything that walks a query.
        values: Of one ``in``, enough for the keys of a page of results.
        selected: Names in all selects together.
        sort_keys: An order by more is no order that anybody sees.
    """

    characters: int = 16_384
    conditions: int = 1_000
    depth: int = 20
    values: int = 10_000
    selected: int = 500
    sort_keys: int = 16


BOUNDS: Final = QueryBounds()


class Tally:
    """Counts what a reader has met, and refuses what exceeds the bounds.

    Each method raises `InvalidQuery` when there is too much of what it counts.
    """

    __slots__ = ("_conditions", "_selected", "bounds")

    def __init__(self, bounds: QueryBounds) -> None:
        self.bounds = bounds
        self._conditions = 0
        self._selected = 0

    def condition(self) -> None:
        """Count one condition."""
        self._conditions += 1
        if self._conditions > self.bounds.conditions:
            raise InvalidQuery(f"a query has at most {self.bounds.conditions} conditions")

    def selected(self) -> None:
        """Count one selected name."""
        self._selected += 1
        if self._selected > self.bounds.selected:
            raise InvalidQuery(f"a query selects at most {self.bounds.selected} names")

    def nesting(self, depth: int) -> None:
        """Refuse groups or selects that are nested deeper than allowed."""
        if depth > self.bounds.depth:
            raise InvalidQuery(f"a query nests at most {self.bounds.depth} levels deep")

    def values(self, count: int) -> None:
        """Refuse a list of values that is too long."""
        if count > self.bounds.values:
            raise InvalidQuery(f"`in` takes at most {self.bounds.values} values, got {count}")

    def sort_keys(self, count: int) -> None:
        """Refuse an order by too many keys."""
        if count > self.bounds.sort_keys:
            raise InvalidQuery(f"sort takes at most {self.bounds.sort_keys} keys, got {count}")
