"""What tables and nested types have in common: an instance wraps the record it is."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Self

from lyredb.tables.comparing import unwrap
from lyredb.tables.declare.annotations import make_columns
from lyredb.tables.declare.columns import Column
from lyredb.tables.declare.extra import Extra
from lyredb.tables.declare.reading import make_read
from lyredb.tables.hints import did_you_mean


class Fields:
    """Base of `Table` and `Nested`; never used itself.

    What was not passed is absent; ``None`` is an explicit null. The two read the same
    and are different in an index, so ``"site" in record`` tells them apart.
    """

    __slots__ = ("__record",)
    _lyre_columns: ClassVar[Mapping[str, Column[Any]]] = {}
    __record: dict[str, object]

    def __init__(self, /, **values: Any) -> None:
        record: dict[str, object] = {}
        columns = self._lyre_columns
        for name, value in values.items():
            column = columns.get(name)
            if column is None or column.role in ("created", "updated") or column.is_virtual:
                raise TypeError(self._unknown(name))
            record[column.attribute] = unwrap(value)
        object.__setattr__(self, "_Fields__record", record)

    @classmethod
    def from_dict(cls, record: dict[str, object], /) -> Self:
        """Return an instance that wraps this dictionary, which it takes over."""
        made = cls.__new__(cls)
        object.__setattr__(made, "_Fields__record", record)
        return made

    def to_dict(self) -> dict[str, object]:
        """Return the record as a dictionary of its own: plain values, record names."""
        return deepcopy(self.__record)

    @property
    def extra(self) -> Extra:
        """The attributes that no column declares; may be changed."""
        return Extra(self.__record, frozenset(one.attribute for one in self._columns()))

    def _lyre_record(self) -> dict[str, object]:
        return self.__record

    @classmethod
    def _columns(cls) -> list[Column[Any]]:
        return list(cls._lyre_columns.values())

    @classmethod
    def _unknown(cls, name: str) -> str:
        column = cls._lyre_columns.get(name)
        if column is not None and column.is_virtual:
            return f"{column!r} is not stored: it is made from other attributes"
        if column is not None:
            return f"{column!r} is set by the server"
        return f"{cls.__name__} has no column {name}{did_you_mean(name, cls._lyre_columns)}"

    @classmethod
    def _lyre_declare(cls, local_names: Mapping[str, object], reserved: frozenset[str]) -> None:
        """Make the columns of a class that was just defined."""
        own = make_columns(cls, local_names, reserved)
        for name, column in own.items():
            column.make_read = make_read
            setattr(cls, name, column)
            column.__set_name__(cls, name)
        cls._lyre_columns = {**cls._lyre_columns, **own}

    def __contains__(self, name: str) -> bool:
        """Tell whether the record has the attribute, null or not; by its Python name."""
        column = self._lyre_columns.get(name)
        return (column.attribute if column else name) in self.__record

    if not TYPE_CHECKING:  # it would make a type checker accept every name

        def __setattr__(self, name: str, value: object) -> None:
            if name not in self._lyre_columns:
                raise AttributeError(self._unknown(name))
            object.__setattr__(self, name, value)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__record == other._lyre_record()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        named = {one.attribute: name for name, one in self._lyre_columns.items()}
        parts = [f"{named.get(name, name)}={value!r}" for name, value in self.__record.items()]
        return f"{type(self).__name__}({', '.join(parts)})"
