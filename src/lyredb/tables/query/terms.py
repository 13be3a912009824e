"""A query as frozen values, whatever notation it came in.

URLs, query objects and Python expressions are read into these; the planner, and whoever
filters live changes, reads nothing else. Nothing here knows a table: names and values
are checked against a schema when a query is planned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn, TypeAlias

Comparator = Literal[
    "equals",
    "not_equal",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "between",
    "starts_with",
    "ends_with",
    "contains",
    "prefix",
    "in",
]
"""What a condition compares by.

``between`` takes a pair, both ends included; ``in`` a sequence, of which one must be equal;
``prefix`` compares the first elements of a list key.
"""
Form = Literal["objects", "values", "arrays"]

ID_NAME: Final = "$id"
"""The key, whatever its attribute is called."""
UPDATED_NAME: Final = "$updatedtime"
"""The time of the last write in epoch milliseconds."""
EVERYTHING: Final = "*"
"""In a select: all attributes of the whole record."""

_BOOLEAN_HINT: Final = (
    "a condition is no truth value: join conditions with `&`, `|` and `~` (in parentheses) "
    "instead of `and`, `or` and `not`, and write a chained comparison as two conditions"
)


class _NoTruth:
    """Raises where Python would ask for the truth of a condition."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError(_BOOLEAN_HINT)

    def __and__(self, other: Where) -> Group:
        """Both must hold."""
        return _joined("and", self, other)

    def __or__(self, other: Where) -> Group:
        """One of them must hold."""
        return _joined("or", self, other)

    def __invert__(self) -> Group:
        """It must not hold: true of every record of which the condition is not."""
        return Group("not", (_where(self),))


@dataclass(frozen=True, slots=True)
class UrlValue:
    """A value as text from a URL, decoded: read by the attribute's declared type.

    Attributes:
        text: Without percent encoding.
        typed: From ``==`` and named comparators: null is recognised, and for undeclared
            attributes numbers and booleans. From ``=``, ``===`` and ``!==``: neither.
        prefix: The type that the value itself names (``number`` in ``number:12``), only
            when typed; ``""`` for none.
    """

    text: str
    typed: bool
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Condition(_NoTruth):
    """One comparison.

    Attributes:
        path: Names of attributes: one, or through related records and nested objects to
            the last, which is compared.
        comparator: How.
        value: With what; text from a URL as `UrlValue` (for ``between`` and ``in`` a tuple
            of them).
        owner: The class whose column it was made of, if it was.
    """

    path: tuple[str, ...]
    comparator: Comparator = "equals"
    value: object = None
    owner: type[Any] | None = field(default=None, compare=False, repr=False)

    @property
    def attribute(self) -> str:
        """The path as a URL has it: ``brand.name``."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Group(_NoTruth):
    """Conditions joined: all (``and``), one at least (``or``), or not the only one (``not``)."""

    operator: Literal["and", "or", "not"]
    members: tuple[Where, ...]


Where: TypeAlias = Condition | Group


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of an order: first nulls and what is absent, then by type, then by value."""

    path: tuple[str, ...]
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """One name in a select, and what is taken of the related records or object behind it.

    Attributes:
        name: Of an attribute, or `ID_NAME`, `UPDATED_NAME`, `EVERYTHING`.
        select: ``None``: all of it.
    """

    name: str
    select: Select | None = None


@dataclass(frozen=True, slots=True)
class Select:
    """What is returned of each record.

    Attributes:
        items: In the order asked for, each name once.
        form: ``objects`` (absent attributes left out), bare ``values`` (one item), or
            ``arrays`` (absent attributes are null, so that places stay).
    """

    items: tuple[Selected, ...]
    form: Form = "objects"


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        where: What must hold, ``None`` for every record.
        sort: In this order; records that are equal in it come by key. Without: in any order
            that is cheap, each record once.
        limit: How many records at most, ``None`` for all.
        offset: How many of the result are skipped before.
        select: ``None``: whole records.
        explain: The plan is wanted instead of the data.
        enforce_order: Conditions are to be executed in the order in which they stand.
        allow_full_scan: ``False``: refuse a plan that would look at the whole table.
    """

    where: Where | None = None
    sort: tuple[SortKey, ...] = ()
    limit: int | None = None
    offset: int = 0
    select: Select | None = None
    explain: bool = False
    enforce_order: bool = False
    allow_full_scan: bool = True


def conditions_in(where: Where | None) -> tuple[Condition, ...]:
    """Return every condition of a tree, in the order in which they stand."""
    if where is None:
        return ()
    if isinstance(where, Condition):
        return (where,)
    return tuple(one for member in where.members for one in conditions_in(member))


def _where(one: object) -> Where:
    if isinstance(one, (Condition, Group)):
        return one
    raise TypeError(f"a condition is joined with another condition, not {type(one).__name__}")


def _joined(operator: Literal["and", "or"], left: object, right: object) -> Group:
    """Join two, without nesting what the same operator joins already."""
    members: list[Where] = []
    for one in (_where(left), _where(right)):
        same = isinstance(one, Group) and one.operator == operator
        members += one.members if isinstance(one, Group) and same else (one,)
    return Group(operator, tuple(members))
