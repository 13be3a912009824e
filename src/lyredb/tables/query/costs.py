"""What a query may cost, and the counting of it.

A client chooses what is looked for, so each thing that grows with it has a limit. Beyond
one the answer ends with `QueryTooCostly`, which names the limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from lyredb.errors import QueryTooCostly


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """The limits of one query.

    Attributes:
        looked_at: Records that are read and are not part of the answer. A scan that
            filters looks at one to three million a second.
        sorted: Records that are put in order in memory, about 150 bytes each.
        keys: Keys that are remembered, so that none comes twice and for what others
            change meanwhile; about 100 bytes each.
        conditions: In one query; each is looked at for each record.
        joins: Related tables in a row, in a condition, order or select.
        related: Records of one relation of one record.
        seconds: Of reading, without the time that the receiver takes.
    """

    looked_at: int = 10_000_000
    sorted: int = 250_000
    keys: int = 1_000_000
    conditions: int = 200
    joins: int = 4
    related: int = 10_000
    seconds: float = 60.0


DEFAULT_LIMITS = QueryLimits()


class Meter:
    """Counts what one query has cost so far.

    Attributes:
        limits: Beyond them it raises.
        read: Records that were read.
    """

    __slots__ = ("_dropped", "_spent_s", "limits", "read")

    def __init__(self, limits: QueryLimits) -> None:
        self.limits = limits
        self.read = 0
        self._dropped = 0
        self._spent_s = 0.0

    def looked_at(self, read: int, kept: int) -> None:
        """Count records that were read, and those of them that a filter kept.

        Raises:
            QueryTooCostly: Too many were dropped.
        """
        self.read += read
        self._dropped += read - kept
        if self._dropped > self.limits.looked_at:
            raise _too_costly(
                f"looks at more than {self.limits.looked_at} records that do not match",
                "queries.maxLookedAt",
                "add a condition on an indexed attribute",
            )

    def spend(self, seconds: float) -> None:
        """Count time.

        Raises:
            QueryTooCostly: It was too much.
        """
        self._spent_s += seconds
        if self._spent_s > self.limits.seconds:
            raise _too_costly(
                f"takes more than {self.limits.seconds:g} s", "queries.maxTime", "ask for less"
            )

    def order(self, records: int) -> None:
        """Check how many records are put in order in memory.

        Raises:
            QueryTooCostly: Too many.
        """
        if records > self.limits.sorted:
            raise _too_costly(
                f"puts more than {self.limits.sorted} records in order",
                "queries.maxSorted",
                "add a limit, or sort by an indexed attribute",
            )

    def remember(self, keys: int) -> None:
        """Check how many keys are kept in memory.

        Raises:
            QueryTooCostly: Too many.
        """
        if keys > self.limits.keys:
            raise _too_costly(
                f"keeps more than {self.limits.keys} keys in memory",
                "queries.maxKeys",
                "add a limit or a condition that finds less",
            )

    def relate(self, records: int) -> None:
        """Check how many related records one record has.

        Raises:
            QueryTooCostly: Too many.
        """
        if records > self.limits.related:
            raise _too_costly(
                f"meets a record with more than {self.limits.related} related ones",
                "queries.maxRelated",
                "query the related table instead",
            )


def check_conditions(count: int, limits: QueryLimits) -> None:
    """Refuse a query with too many conditions.

    Raises:
        QueryTooCostly: It has.
    """
    if count > limits.conditions:
        raise _too_costly(
            f"has {count} conditions, more than {limits.conditions}",
            "queries.maxConditions",
            "use the comparator in for many values of one attribute",
        )


def check_joins(depth: int, limits: QueryLimits) -> None:
    """Refuse a path through too many related tables.

    Raises:
        QueryTooCostly: It is one.
    """
    if depth > limits.joins:
        raise _too_costly(
            f"goes through more than {limits.joins} related tables",
            "queries.maxJoins",
            "go less far",
        )


def _too_costly(what: str, setting: str, instead: str) -> QueryTooCostly:
    return QueryTooCostly(f"the query {what} ({setting}); {instead}")
