"""What the names in conditions, orders and selects stand for in a table.

A path goes through relations to other tables, and at last to an attribute and into the
objects that it holds. Here the right to read is asked for, of each table on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from lyredb.errors import InvalidQuery, NotAuthorised, UnknownAttribute
from lyredb.storage.layout import IndexLayout, IndexSource
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.costs import QueryLimits, check_joins
from lyredb.tables.query.terms import ID_NAME, UPDATED_NAME
from lyredb.tables.schema import Attribute, NestedType, Relation, TypeRef
from lyredb.tables.stored import CONTENT_TYPE, DATA, StoredTable

Source = Literal["key", "created", "updated", "body", "computed"]
Readable: TypeAlias = Callable[[StoredTable], frozenset[str] | None]
"""The attributes of a table that may be read, ``None`` for all; the key is always among
them. Raises `NotAuthorised` when the table may not be read."""
TableOf: TypeAlias = Callable[[str], StoredTable | None]
"""Finds a table by its full name."""

_ROLES: Final[Mapping[str, Source]] = {
    "primary key": "key",
    "created": "created",
    "updated": "updated",
    "plain": "body",
    "expires": "body",
}
_INDEXED: Final[Mapping[Source, IndexSource]] = {
    "created": IndexSource.CREATED,
    "updated": IndexSource.UPDATED,
    "body": IndexSource.BODY,
    "computed": IndexSource.COMPUTED,
}
_MANY_FORMS: Final = frozenset(("Any", "ID", "Blob"))
"""Types of which a value may be a list."""


def ALL_READABLE(table: StoredTable) -> None:
    """Let everything be read: for code in the same process."""


@dataclass(slots=True, eq=False)
class Leaf:
    """An attribute at the end of a path.

    Attributes:
        table: That has it.
        name: Of the attribute in the table.
        rest: Names inside the objects that it holds.
        source: Where its value comes from.
        type: As declared, of the last name; ``None`` when it is not declared.
    """

    table: StoredTable
    name: str
    rest: tuple[str, ...] = ()
    source: Source = "body"
    type: TypeRef | None = None

    @property
    def label(self) -> str:
        """The path as a URL has it."""
        return ".".join((self.name, *self.rest))

    @property
    def may_be_list(self) -> bool:
        """Its value may be a list, so that a record stands in an index several times."""
        if self.source in ("key", "created", "updated"):
            return False
        return self.type is None or self.type.element is not None or self.type.name in _MANY_FORMS

    def index(self) -> IndexLayout | None:
        """The index of the attribute, complete or not."""
        wanted = _INDEXED.get(self.source)
        if wanted is None or self.may_be_opaque:
            return None
        path = (self.name, *self.rest)
        for index in self.table.layout.indexes:
            if index.path == path and index.source is wanted:
                return index
        return None

    @property
    def may_be_opaque(self) -> bool:
        """It is one of the two names that payloads kept as received are read by.

        Such a record has no attributes for an index, but it has these for everybody else.
        """
        return self.name in (CONTENT_TYPE, DATA) and self.table.layout.sealed is None


@dataclass(slots=True, eq=False)
class Step:
    """A relation on the way.

    Attributes:
        table: Where the step begins.
        name: Of the virtual attribute.
        relation: What joins the two.
        target: The related table.
    """

    table: StoredTable
    name: str
    relation: Relation
    target: StoredTable


class Names:
    """Resolves names for one query.

    Args:
        tables: Finds related tables.
        readable: What may be read.
        limits: How far relations may be followed.
    """

    def __init__(self, tables: TableOf, readable: Readable, limits: QueryLimits) -> None:
        self._tables = tables
        self._readable = readable
        self.limits = limits
        self._masks: dict[str, frozenset[str] | None] = {}
        self._steps: dict[tuple[str, str], Step] = {}

    def mask(self, table: StoredTable) -> frozenset[str] | None:
        """Return the attributes that may be read, ``None`` for all.

        Raises:
            NotAuthorised: The table may not be read.
        """
        if table.name not in self._masks:
            self._masks[table.name] = self._readable(table)
        return self._masks[table.name]

    @property
    def tables(self) -> frozenset[str]:
        """The tables that were asked for."""
        return frozenset(self._masks)

    def may_read(self, table: StoredTable, name: str) -> bool:
        """Tell whether an attribute may be read."""
        mask = self.mask(table)
        return mask is None or name in mask or name in (table.schema.primary_key, *_SPECIAL)

    def step(self, table: StoredTable, name: str, depth: int = 0) -> Step | None:
        """Return the relation that a name is, ``None`` when it is none.

        Raises:
            NotAuthorised: The related table may not be read, or not the attribute of it that
                joins the two.
            QueryTooCostly: The path goes too far.
            UnknownAttribute: The related table does not exist.
        """
        attribute = table.schema.attribute(name)
        if attribute is None or attribute.relation is None:
            return None
        check_joins(depth + 1, self.limits)
        known = self._steps.get((table.name, name))
        if known is None:
            known = self._steps[table.name, name] = self._step(table, name, attribute.relation)
        return known

    def _step(self, table: StoredTable, name: str, relation: Relation) -> Step:
        target = self._tables(relation.target)
        if target is None:
            raise UnknownAttribute(f"the table that {name[:60]} relates to does not exist")
        self.mask(target)
        if relation.there:
            # Who is joined to whom would tell it.
            self.require(target, relation.there)
        return Step(table, name, relation, target)

    def require(self, table: StoredTable, name: str) -> None:
        """Refuse the use of an attribute that may not be read.

        Raises:
            NotAuthorised: It may not.
        """
        if not self.may_read(table, name):
            raise NotAuthorised(f"not authorised to read {name[:60]}")

    def leaf(self, table: StoredTable, path: tuple[str, ...]) -> Leaf:
        """Return the attribute at the end of a path without relations.

        Raises:
            NotAuthorised: It may not be read.
            UnknownAttribute: The table cannot have it.
            InvalidQuery: It is a relation, of which an attribute should be named.
        """
        name, *rest = path
        self.require(table, name)
        if name == ID_NAME or name == table.schema.primary_key:
            return Leaf(table, table.schema.primary_key, (), "key", self._key_type(table))
        if name == UPDATED_NAME:
            return Leaf(table, name, (), "updated", TypeRef("Long"))
        attribute = table.schema.attribute(name)
        if attribute is None:
            check_known(table, name)
            return Leaf(table, name, tuple(rest))
        if attribute.relation is not None:
            raise InvalidQuery(
                f"{name[:60]} stands for related records: name an attribute of theirs, "
                f"such as {name[:60]}.{table.schema.primary_key}"
            )
        source: Source = "computed" if attribute.computed else _ROLES[attribute.role]
        type = _inside(table, attribute, tuple(rest))
        return Leaf(table, name, tuple(rest), source, type)

    def _key_type(self, table: StoredTable) -> TypeRef:
        return TypeRef(table.schema.key_type)


_SPECIAL: Final = (ID_NAME, UPDATED_NAME)


def check_known(table: StoredTable, name: str) -> None:
    """Refuse an attribute that the table cannot have.

    Raises:
        UnknownAttribute: It is sealed and the name is not declared.
    """
    schema = table.schema
    if not schema.sealed or schema.has_attribute(name) or name in (CONTENT_TYPE, DATA):
        return
    hint = did_you_mean(name, (attribute.name for attribute in schema.attributes))
    raise UnknownAttribute(f"{name[:60]} is not a defined attribute{hint}")


def _inside(table: StoredTable, attribute: Attribute, rest: tuple[str, ...]) -> TypeRef | None:
    """The declared type at the end of a path into an object; lists are looked through."""
    type: TypeRef | None = attribute.type
    is_list = False
    for name in rest:
        while type is not None and type.element is not None:
            type, is_list = type.element, True
        nested = None if type is None else _nested(table, type.name)
        if nested is None:
            return None  # what nobody declared may be anything
        found = next((one for one in nested.attributes if one.name == name), None)
        if found is None and nested.sealed:
            hint = did_you_mean(name, (one.name for one in nested.attributes))
            raise UnknownAttribute(f"{name[:60]} is not a defined attribute{hint}")
        type = None if found is None else found.type
    # A list on the way makes several values of one.
    return TypeRef("", type) if is_list and type is not None and rest else type


def _nested(table: StoredTable, name: str) -> NestedType | None:
    try:
        return table.schema.nested_type(name)
    except KeyError:
        return None
