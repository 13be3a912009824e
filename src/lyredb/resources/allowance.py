"""What one role may do with one table and each of its attributes, worked out once.

Two things restrict attributes: what the role's definition lists, and ``@allow`` in the
schema. Both have to allow it. Where only some attributes may be used, those are declared
or listed by name: nobody knows what an undeclared attribute of an open table holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from lyredb.delivery.admission import ALL, View
from lyredb.delivery.masking import Mask
from lyredb.resources.write_limit import WriteLimit
from lyredb.security.rights import ALL_RIGHTS, NO_RIGHTS, AttributeRight, TableRights
from lyredb.storage.expression import parse
from lyredb.tables.schema import Attribute, TableSchema
from lyredb.tables.stored import StoredTable


@dataclass(frozen=True, slots=True)
class Allowance:
    """The rights of a role on a table, as every path into the data needs them.

    Attributes:
        rights: On the table. Without a readable attribute there is no ``read``.
        readable: Names of attributes, the key among them; ``None`` for all.
        insertable: What a new record may be given, ``None`` for all. Its key and the times
            that the server sets need no right, here and in ``updatable``.
        updatable: What may be changed in a record, ``None`` for all.
        view: What of the table's messages is seen.
        limit: What restricts writes of records, ``None`` if nothing does.
    """

    rights: TableRights
    readable: frozenset[str] | None = None
    insertable: frozenset[str] | None = None
    updatable: frozenset[str] | None = None
    view: View = ALL
    limit: WriteLimit | None = None

    @property
    def usable(self) -> frozenset[str] | None:
        """The attributes with which something may be done, ``None`` for all."""
        rights = self.rights
        parts = (
            (rights.read, self.readable),
            (rights.insert, self.insertable),
            (rights.update, self.updatable),
        )
        names: frozenset[str] = frozenset()
        for may, some in parts:
            if may and some is None:
                return None
            names |= (some or frozenset()) if may else frozenset()
        return names if rights.read or rights.insert or rights.update else None


NOTHING: Final = Allowance(NO_RIGHTS)
EVERYTHING: Final = Allowance(ALL_RIGHTS)


def allowance_of(role: str, rights: TableRights, table: StoredTable) -> Allowance:
    """Return what users of a role may do with a table.

    Args:
        role: Its name; it is no super user.
        rights: What its definition gives.
        table: The table.
    """
    schema = table.schema
    readable = _allowed("read", role, rights, schema)
    insertable = _allowed("insert", role, rights, schema)
    updatable = _allowed("update", role, rights, schema)
    if readable is not None:
        rights = replace(rights, read=rights.read and bool(readable))
        readable = readable | {schema.primary_key} if readable else frozenset()
    free = {schema.primary_key} | {
        one.name for one in schema.attributes if one.role in ("created", "updated")
    }
    insertable = None if insertable is None else insertable | free
    updatable = None if updatable is None else updatable | free
    shown = readable if rights.read else frozenset[str]()
    limit = WriteLimit(role, schema.name, rights, shown, insertable, updatable)
    return Allowance(
        rights,
        readable,
        insertable,
        updatable,
        ALL if readable is None else Mask(readable),
        limit if limit.restricts else None,
    )


def _allowed(
    right: AttributeRight, role: str, rights: TableRights, schema: TableSchema
) -> frozenset[str] | None:
    declared = {one.name for one in schema.attributes} | {schema.primary_key}
    listed = rights.allowed(right, declared)
    closed = frozenset(_closed(role, schema.attributes))
    if right == "read":
        closed |= frozenset(_showing(closed, role, schema.attributes))
        if listed is not None:
            closed |= frozenset(_by_star(listed | {schema.primary_key}, role, rights, schema))
    if not closed:
        return listed
    return (frozenset(declared) if listed is None else listed) - closed


def _closed(role: str, attributes: Iterable[Attribute]) -> Iterable[str]:
    """The attributes that the schema keeps for other roles; never the key."""
    return (
        one.name
        for one in attributes
        if one.roles and role not in one.roles and one.role != "primary key"
    )


def _showing(closed: frozenset[str], role: str, attributes: Iterable[Attribute]) -> Iterable[str]:
    """Virtual attributes that would show a closed one, unless they name the role themselves.

    They are made of stored attributes only, so one look at each is enough.
    """
    return (
        one.name
        for one in attributes
        if role not in one.roles and not _sources(one).isdisjoint(closed)
    )


def _by_star(
    listed: frozenset[str], role: str, rights: TableRights, schema: TableSchema
) -> Iterable[str]:
    """Virtual attributes without a line of their own that would show what is not listed."""
    return (
        one.name
        for one in schema.attributes
        if one.name not in rights.attributes
        and role not in one.roles
        and not _sources(one) <= listed
    )


def _sources(attribute: Attribute) -> frozenset[str]:
    """The attributes of the same record that a virtual one is made from."""
    if attribute.computed is not None and attribute.computed.expression:
        return parse(attribute.computed.expression).names
    if attribute.relation is not None and attribute.relation.here:
        return frozenset((attribute.relation.here,))
    return frozenset()
