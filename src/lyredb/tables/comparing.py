"""Conditions, orders and selects out of columns: ``Sensor.value > 30``.

Python asks for the truth of a condition where ``and``, ``or``, ``not`` or a chained
comparison stands; a condition has none and says so (`terms`), so nothing is dropped silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from lyredb.tables.query.parse_object import SelectLike, read_select
from lyredb.tables.query.terms import Comparator, Condition, Selected, SortKey

T = TypeVar("T")
U = TypeVar("U")
E = TypeVar("E")


def unwrap(value: object) -> object:
    """Return what a record holds for a Python value: instances are their records."""
    if isinstance(value, (list, tuple)):
        return [unwrap(item) for item in value]
    record = getattr(type(value), "_lyre_record", None)
    return record(value) if record else value


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an order, and whose column it was made of.

    Attributes:
        key: As queries have it.
        owner: The class of the column, ``None`` when it is not known.
    """

    key: SortKey
    owner: type[Any] | None = None


class Comparable(Generic[T]):
    """What can be compared with values of a type: a column, or a path through columns.

    A column that holds a list is compared by its elements: one that fulfils the condition
    is enough.
    """

    owner: type[Any] | None

    @property
    def path(self) -> tuple[str, ...]:
        """The names in records, from this table's attribute to the one that is compared."""
        raise NotImplementedError

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]  # makes a condition
        return self._compared("equals", unwrap(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]  # makes a condition
        return self._compared("not_equal", unwrap(other))

    @overload
    def __lt__(self: Comparable[list[E]], other: E) -> Condition: ...
    @overload
    def __lt__(self, other: T) -> Condition: ...
    def __lt__(self, other: object) -> Condition:
        return self._compared("less_than", unwrap(other))

    @overload
    def __le__(self: Comparable[list[E]], other: E) -> Condition: ...
    @overload
    def __le__(self, other: T) -> Condition: ...
    def __le__(self, other: object) -> Condition:
        return self._compared("less_than_equal", unwrap(other))

    @overload
    def __gt__(self: Comparable[list[E]], other: E) -> Condition: ...
    @overload
    def __gt__(self, other: T) -> Condition: ...
    def __gt__(self, other: object) -> Condition:
        return self._compared("greater_than", unwrap(other))

    @overload
    def __ge__(self: Comparable[list[E]], other: E) -> Condition: ...
    @overload
    def __ge__(self, other: T) -> Condition: ...
    def __ge__(self, other: object) -> Condition:
        return self._compared("greater_than_equal", unwrap(other))

    __hash__ = object.__hash__

    @overload
    def in_(self: Comparable[list[E]], values: Iterable[E], /) -> Condition: ...
    @overload
    def in_(self, values: Iterable[T], /) -> Condition: ...
    def in_(self, values: Iterable[Any], /) -> Condition:
        """It equals one of the values; of an empty list of them none matches.

        Raises:
            TypeError: The values are a text or bytes, not several of them.
        """
        if isinstance(values, (str, bytes)):
            raise TypeError(f"in_ takes a list of values, not {type(values).__name__}")
        return self._compared("in", tuple(map(unwrap, values)))

    @overload
    def between(self: Comparable[list[E]], low: E, high: E, /) -> Condition: ...
    @overload
    def between(self, low: T, high: T, /) -> Condition: ...
    def between(self, low: object, high: object, /) -> Condition:
        """It lies between the two, both included."""
        return self._compared("between", (unwrap(low), unwrap(high)))

    def startswith(self, text: str, /) -> Condition:
        """It is text that begins so."""
        return self._compared("starts_with", text)

    def endswith(self, text: str, /) -> Condition:
        """It is text that ends so."""
        return self._compared("ends_with", text)

    def contains(self, text: str, /) -> Condition:
        """It is text with this in it. An element of a list is looked for by ``==``."""
        return self._compared("contains", text)

    def has_prefix(self, *elements: str | int) -> Condition:
        """It is a key of several parts that begins with these."""
        return self._compared("prefix", elements)

    def is_null(self) -> Condition:
        """It is an explicit null; what is absent is not."""
        return self._compared("equals", None)

    def asc(self) -> Order:
        """Order by it, the least first; the same as the column itself."""
        return Order(SortKey(self.path), self.owner)

    def desc(self) -> Order:
        """Order by it, the greatest first."""
        return Order(SortKey(self.path, descending=True), self.owner)

    def select(self, *names: SelectLike | Comparable[Any]) -> Selected:
        """Select of the related records or the object that it holds.

        ``Product.select("name", Product.brand.select("name"))``; without names all of it.

        Raises:
            TypeError: It is an attribute of a related record, or a name is no such thing.
        """
        if len(self.path) > 1:
            raise TypeError(f"select of {self!r} by nesting: Table.relation.select(…)")
        return Selected(self.path[0], read_select(select_items(names)))

    @overload
    def __getitem__(self, inner: Comparable[U], /) -> Path[U]: ...
    @overload
    def __getitem__(self, inner: str, /) -> Path[Any]: ...
    def __getitem__(self, inner: Comparable[Any] | str, /) -> Path[Any]:
        """Return an attribute of the related record or object: ``Product.brand[Brand.name]``."""
        if isinstance(inner, Comparable):
            return Path((*self.path, *inner.path), self.owner)
        return Path((*self.path, inner), self.owner)

    # Python would take ``__getitem__`` for a sequence and count up from 0 without end.
    __iter__ = None
    __contains__ = None

    def _compared(self, comparator: Comparator, value: object) -> Condition:
        return Condition(self.path, comparator, value, self.owner)


class Path(Comparable[T]):
    """An attribute of a related record or of an object inside the record."""

    __slots__ = ("_path", "owner")

    def __init__(self, path: tuple[str, ...], owner: type[Any] | None) -> None:
        self._path = path
        self.owner = owner

    @property
    def path(self) -> tuple[str, ...]:
        """The names, from this table's attribute to the one that is compared."""
        return self._path

    def __repr__(self) -> str:
        return f"{self.owner.__name__ if self.owner else '?'}.{'.'.join(self._path)}"


def select_items(names: tuple[object, ...]) -> SelectLike | None:
    """Return what arguments of ``select(…)`` mean: one name bare values, several objects."""
    plain = [_select_item(name) for name in names]
    if not plain:
        return None
    return plain[0] if len(plain) == 1 else plain


def _select_item(given: Any) -> Any:
    if isinstance(given, Comparable):
        if len(given.path) > 1:
            raise TypeError(f"select {given!r} by nesting: Table.relation.select(…)")
        return Selected(given.path[0])
    if isinstance(given, (list, tuple)):
        return [_select_item(one) for one in given]
    return given
