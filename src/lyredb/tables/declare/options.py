"""What is said of a column beyond its type: `field`, `relationship` and `computed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from lyredb.tables.schema import Computed


class Marker:
    """A value that no record has."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


UNSET: Final = Marker("UNSET")
GENERATED: Final[Any] = Marker("GENERATED")
"""Default of a key that is made when a record without one is put."""


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """What `field`, `relationship` or `computed` was called with.

    Attributes:
        default: Read where a record has none.
        name: In records, ``""`` for the one in the class.
        description: For people.
        indexed: Has an index, whatever the kind of column.
        roles: That may use it; empty for all.
        hidden: Left out of documents that describe the interface.
        enumerable: A virtual attribute that is part of whole records.
        joined: Of a relationship: the attribute here, and that of the other table.
        computed: Of a computed attribute: how.
    """

    default: object = UNSET
    name: str = ""
    description: str = ""
    indexed: bool = False
    roles: tuple[str, ...] = ()
    hidden: bool = False
    enumerable: bool = False
    joined: tuple[str, str] | None = None
    computed: Computed | None = None


def field(
    *,
    default: Any = UNSET,
    name: str = "",
    description: str = "",
    indexed: bool = False,
    roles: Sequence[str] = (),
    hidden: bool = False,
) -> Any:
    """Say more of a column than its type.

    Args:
        default: What is read where a record has no such attribute. It is never stored.
            `GENERATED`, for a key: made when a record without one is put.
        name: The attribute's name in records, when it cannot be one in Python.
        description: For people.
        indexed: Has an index; the same as `Indexed` for columns of another kind.
        roles: The names of the roles that may use it; empty: whoever may use the table.
        hidden: Left out of documents that describe the interface, and used as others.

    Raises:
        ValueError: The default could be changed by whoever reads it.
        TypeError: ``roles`` is text instead of a sequence of names.
    """
    if isinstance(default, (list, dict, set)):
        raise ValueError("a default must not be mutable; leave it out and read None instead")
    return FieldOptions(default, name, description, indexed, _roles(roles), hidden)


def relationship(
    *,
    from_: str = "",
    to: str = "",
    enumerable: bool = False,
    name: str = "",
    description: str = "",
    roles: Sequence[str] = (),
    hidden: bool = False,
    init: Literal[False] = False,
) -> Any:
    """Say by what the records of another table are found, of a column ``Rel[Brand]``.

    Args:
        from_: The attribute of this table that holds their key, or a list of keys.
        to: The attribute of the other table that holds the key of this one. With both,
            the two are compared.
        enumerable: Part of whole records, not only of a select that names it.
        name: As for `field`; so are the others.
        description: For people.
        roles: Of those who may use it.
        hidden: Not shown in documents.
        init: Tells type checkers that it is no argument of the class.

    Raises:
        TypeError: ``roles`` is text instead of a sequence of names.
    """
    return FieldOptions(
        name=name,
        description=description,
        roles=_roles(roles),
        hidden=hidden,
        enumerable=enumerable,
        joined=(from_, to),
    )


def computed(
    expression: str = "",
    /,
    *,
    version: object = "",
    enumerable: bool = False,
    name: str = "",
    description: str = "",
    roles: Sequence[str] = (),
    hidden: bool = False,
    init: Literal[False] = False,
) -> Any:
    """Say how a column is made of the others, by ``"value * 1.8 + 32"`` or a function.

    Args:
        expression: See the page on schemas; names are those of records. Without one, code
            gives a function by ``Table.set_computed_attribute``.
        version: Another one makes an index of it be built anew; the expression's text by
            default.
        enumerable: Part of whole records, not only of a select that names it.
        name: As for `field`; so are the others.
        description: For people.
        roles: Of those who may use it.
        hidden: Not shown in documents.
        init: Tells type checkers that it is no argument of the class.

    Raises:
        TypeError: ``roles`` is text instead of a sequence of names.
    """
    return FieldOptions(
        name=name,
        description=description,
        roles=_roles(roles),
        hidden=hidden,
        enumerable=enumerable,
        computed=Computed.of(expression, version),
    )


def _roles(roles: Sequence[str]) -> tuple[str, ...]:
    if isinstance(roles, str):
        raise TypeError(f"roles is a sequence of names: roles=({roles!r},)")
    return tuple(roles)
