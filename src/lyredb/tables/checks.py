"""What a declaration must keep to, in SDL and in classes alike.

Each check returns a sentence that says what is wrong, or ``""``; the notation that
calls it knows file, line and column and raises.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from lyredb.storage.expression import ExpressionError, parse
from lyredb.tables.hints import did_you_mean
from lyredb.tables.schema import (
    KEY_TYPES,
    RESERVED_ROOTS,
    SCALARS,
    SYSTEM_DATABASE,
    TIME_TYPES,
    Attribute,
    TableSchema,
    TypeRef,
    with_key,
)

SPLIT_KEY_TYPES: Final = ("ID", "Any")
"""What a key can be that is split into a list at its slashes."""
MAX_SECONDS: Final = 10_000_000_000
_KINDS: Final = {
    **dict.fromkeys(("ID", "String"), "text"),
    **dict.fromkeys(("Int", "Long", "Float", "BigInt"), "number"),
}
"""Types whose values can be equal to one another's."""
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def type_problem(type: TypeRef, nested: Collection[str], tables: Collection[str] = ()) -> str:
    """Check that the type exists."""
    name = type.innermost
    if name in tables:
        return table_type_problem(name)
    if name in SCALARS or name in nested:
        return ""
    return f"unknown type {name}{did_you_mean(name, (*SCALARS, *nested))}"


def table_type_problem(name: str) -> str:
    """Say that a table is no type of an attribute, and what to do."""
    return (
        f"{name} is a table: say by which attribute its records are found, "
        "@relationship(from: …) or (to: …), in a class Rel[…] = relationship(…); or leave "
        "@table out for objects inside the record"
    )


def attribute_problem(attribute: Attribute, *, of_table: bool) -> str:
    """Check what an attribute's role, index and marks ask of its type and place."""
    name, type = attribute.name, attribute.type
    if not of_table:
        return _nested_problem(attribute)
    if attribute.is_virtual:
        return _virtual_problem(attribute)
    if attribute.enumerable:
        return f"{name}: enumerable is for computed attributes and relationships; it is stored"
    if attribute.role == "primary key" and attribute.roles:
        return f"{name}: whoever may use the table sees its keys; @allow is for other attributes"
    problem = roles_problem(attribute)
    if problem or attribute.role == "plain":
        return problem
    allowed: tuple[str, ...] = KEY_TYPES if attribute.role == "primary key" else TIME_TYPES
    if type.element is None and type.name in allowed:
        return ""
    return f"{name}: a {attribute.role} attribute cannot be {type}; allowed: {', '.join(allowed)}"


def _nested_problem(attribute: Attribute) -> str:
    name = attribute.name
    if attribute.role != "plain" or attribute.indexed:
        return f"{name}: keys, server-set times and indexes belong to tables, not to nested types"
    if attribute.is_virtual or attribute.enumerable:
        return f"{name}: relationships and computed attributes belong to tables"
    if attribute.roles:
        return f"{name}: rights are of a table's own attributes, not of those of nested types"
    return ""


def _virtual_problem(attribute: Attribute) -> str:
    name = attribute.name
    what = "a relationship" if attribute.relation else "a computed attribute"
    if attribute.relation and attribute.computed:
        return f"{name}: @relationship and @computed exclude each other"
    if attribute.role != "plain":
        return f"{name}: {what} cannot be the {attribute.role} of a record, it is not stored"
    if attribute.required:
        return f"{name}: {what} is not stored, so that a record cannot be asked to have it"
    if attribute.relation and attribute.indexed:
        return f"{name}: a relationship has no index; index the attribute that it is joined on"
    if attribute.computed and attribute.indexed and not attribute.computed.expression:
        return f"{name}: only what an expression computes can be indexed; code may change unseen"
    if attribute.computed and attribute.type.innermost == "Blob":
        return f"{name}: a computed attribute cannot be a Blob"
    return roles_problem(attribute)


def roles_problem(attribute: Attribute) -> str:
    """Check the roles that may use an attribute."""
    if not all(attribute.roles):
        return f"{attribute.name}: a role has a name"
    if len(set(attribute.roles)) < len(attribute.roles):
        return f"{attribute.name}: a role is allowed twice"
    return ""


def attributes_problem(attributes: Iterable[Attribute]) -> str:
    """Check a table's attributes together: each name once, each special role at most once."""
    names: set[str] = set()
    roles: dict[str, str] = {}
    for attribute in attributes:
        if attribute.name in names:
            return f"{attribute.name} is declared twice"
        names.add(attribute.name)
        if attribute.role == "plain":
            continue
        if attribute.role in roles:
            first = roles[attribute.role]
            return f"{first} and {attribute.name} are both declared as {attribute.role}"
        roles[attribute.role] = attribute.name
    return ""


def key_problem(attributes: Sequence[Attribute]) -> str:
    """Check the key of a table, which may be one because it is called ``id``."""
    keys = (one for one in with_key(attributes) if one.role == "primary key")
    return next((attribute_problem(one, of_table=True) for one in keys), "")


def table_problem(table: TableSchema) -> str:
    """Check a table's names, path, times and key."""
    name, database = table.name, table.database
    if not _DATABASE.fullmatch(database):
        return f"{database!r} cannot be the name of a database"
    if database == SYSTEM_DATABASE or (database, name) == ("data", "Topic"):
        return f"the table {database}.{name} belongs to the server itself; choose another name"
    if not name or not _DATABASE.fullmatch(name):
        return f"{name!r} cannot be the name of a table"
    if table.split_segments and table.key_type not in SPLIT_KEY_TYPES:
        return (
            f"keys that are split at slashes are lists, which {table.key_type} does not hold; "
            f"the key can be {' or '.join(SPLIT_KEY_TYPES)}"
        )
    problem = _times_problem(table)
    return problem if problem or table.export is None else path_problem(table.export.path)


def _times_problem(table: TableSchema) -> str:
    times = {
        "an expiration": table.expiration_s,
        "an eviction": table.eviction_s,
        "a scan interval": table.scan_interval_s,
    }
    for what, seconds in times.items():
        if not 0 <= seconds <= MAX_SECONDS:
            return f"{what} is a number of seconds from 1 to {MAX_SECONDS}, got {seconds}"
    if (table.eviction_s or table.scan_interval_s) and not table.has_deadlines:
        what = "an eviction" if table.eviction_s else "a scan interval"
        return f"{what} needs an expiration, or an attribute that holds the time of it"
    return ""


def relation_problem(attribute: Attribute, table: TableSchema, target: TableSchema) -> str:
    """Check that a relationship's attributes exist on both sides and can be equal."""
    relation, name = attribute.relation, attribute.name
    assert relation is not None, "the caller asks for relationships only"
    if not (relation.here or relation.there):
        return f"{name}: a relationship needs `from`, `to` or both"
    for side, joined in ((table, relation.here), (target, relation.there)):
        problem = _joined_problem(side, joined)
        if problem:
            return f"{name}: {problem}"
    if relation.there and not relation.many:
        return f"{name}: with `to` there can be many; write [{target.name}]"
    here = _type_of(table, relation.here)
    there = _type_of(target, relation.there)
    if not relation.there and here.name != "Any" and relation.many != (here.element is not None):
        wanted = target.name if relation.many else f"[{target.name}]"
        kind = "one key" if relation.many else "a list of keys"
        return f"{name}: {relation.here} holds {kind}; write {wanted}"
    if not _comparable(here.innermost, there.innermost):
        return (
            f"{name}: {relation.here or table.primary_key} is {here} and "
            f"{target.name}.{relation.there or target.primary_key} is {there}, which are never "
            "equal"
        )
    return ""


def _joined_problem(table: TableSchema, name: str) -> str:
    if not name or name == table.primary_key:
        return ""
    found = table.attribute(name)
    if found is None:
        hint = did_you_mean(name, [one.name for one in table.attributes if not one.is_virtual])
        return f"{table.name} declares no attribute {name}{hint}"
    if found.is_virtual:
        return f"{table.name}.{name} is not stored, so that nothing can be joined on it"
    if found.type.innermost not in SCALARS:
        return f"{table.name}.{name} is an object, which no key is"
    return ""


def _type_of(table: TableSchema, name: str) -> TypeRef:
    found = table.attribute(name or table.primary_key)
    return found.type if found else TypeRef("Any")


def _comparable(left: str, right: str) -> bool:
    """Values of the two types can be equal."""
    return "Any" in (left, right) or _KINDS.get(left, left) == _KINDS.get(right, right)


def computed_problem(attribute: Attribute, table: TableSchema) -> str:
    """Check the expression of a computed attribute, and what it reads."""
    computed = attribute.computed
    assert computed is not None, "the caller asks for computed attributes only"
    if not computed.expression:
        return ""
    try:
        names = parse(computed.expression).names
    except ExpressionError as error:
        return f"{attribute.name}: {error}"
    for name in sorted(names):
        problem = _read_problem(attribute, table, name)
        if problem:
            return f"{attribute.name}: {problem}"
    return ""


def _read_problem(attribute: Attribute, table: TableSchema, name: str) -> str:
    read = table.attribute(name)
    if read is not None and read.is_virtual:
        return f"{name} is not stored, and an expression reads what is"
    outside = name == table.primary_key or (read is not None and not read.is_stored)
    if attribute.indexed and outside:
        return f"{name} is no part of the record's body, so that what it makes has no index"
    if read is None and table.sealed and not outside:
        known = [one.name for one in table.attributes if not one.is_virtual]
        return f"the table declares no attribute {name}{did_you_mean(name, known)}"
    return ""


def path_problem(path: str) -> str:
    """Check a path that a table is exported under."""
    if not path:
        return (
            "a table cannot be exported under the empty path: it would take the paths and topics "
            "of all other tables and of open topics; name one"
        )
    if path[0] == "/" or path[-1] == "/" or "//" in path:
        return f"the path {path!r} has an empty segment"
    for character in "\0+#?":
        if character in path:
            return f"the path {path!r} contains {character!r}, which topics or URLs reserve"
    if path[0] == "$":
        return f"the path {path!r} begins with '$', which belongs to the server"
    root = path.split("/", 1)[0]
    return f"the path {path!r} belongs to the server" if root in RESERVED_ROOTS else ""
