"""What a declaration must keep to, in SDL and in classes alike.

Each check returns a sentence that says what is wrong, or ``""``; the notation that
calls it knows file, line and column and raises.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from lyredb.tables.hints import did_you_mean
from lyredb.tables.schema import (
    KEY_TYPES,
    RESERVED_ROOTS,
    SCALARS,
    TIME_TYPES,
    Attribute,
    Export,
    TypeRef,
    with_key,
)

_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def type_problem(type: TypeRef, nested: Collection[str], tables: Collection[str] = ()) -> str:
    """Check that the type exists."""
    name = type.innermost
    if name in tables:
        return table_type_problem(name)
    if name in SCALARS or name in nested:
        return ""
    if name == "Blob":
        return "the type Blob is not supported yet; use Bytes"
    return f"unknown type {name}{did_you_mean(name, (*SCALARS, *nested))}"


def table_type_problem(name: str) -> str:
    """Say that a table is no type of an attribute, and what to do."""
    return (
        f"{name} is a table: relationships between tables are not supported yet; keep the key of "
        "the other record as an ID, or leave @table out for objects inside the record"
    )


def attribute_problem(attribute: Attribute, *, of_table: bool) -> str:
    """Check what an attribute's role and index ask of its type and place."""
    name, type = attribute.name, attribute.type
    if not of_table and (attribute.role != "plain" or attribute.indexed):
        return f"{name}: keys, server-set times and indexes belong to tables, not to nested types"
    if attribute.role == "plain":
        return ""
    allowed: tuple[str, ...] = KEY_TYPES if attribute.role == "primary key" else TIME_TYPES
    if type.element is None and type.name in allowed:
        return ""
    return f"{name}: a {attribute.role} attribute cannot be {type}; allowed: {', '.join(allowed)}"


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


def table_problem(name: str, *, database: str, expiration_s: int, export: Export | None) -> str:
    """Check a table's names, path and times."""
    if not _DATABASE.fullmatch(database):
        return f"{database!r} cannot be the name of a database"
    if database == "system" or (database, name) == ("data", "Topic"):
        return f"the table {database}.{name} belongs to the server itself; choose another name"
    if not name or not _DATABASE.fullmatch(name):
        return f"{name!r} cannot be the name of a table"
    if expiration_s < 0:
        return f"an expiration is a number of seconds above 0, got {expiration_s}"
    return "" if export is None else path_problem(export.path)


def path_problem(path: str) -> str:
    """Check a path that a table is exported under."""
    if not path:
        return "a table cannot be exported under the empty path yet; name one"
    if path[0] == "/" or path[-1] == "/" or "//" in path:
        return f"the path {path!r} has an empty segment"
    for character in "\0+#?":
        if character in path:
            return f"the path {path!r} contains {character!r}, which topics or URLs reserve"
    if path[0] == "$":
        return f"the path {path!r} begins with '$', which belongs to the server"
    root = path.split("/", 1)[0]
    return f"the path {path!r} belongs to the server" if root in RESERVED_ROOTS else ""
