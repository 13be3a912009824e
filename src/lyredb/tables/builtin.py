"""The tables of the system itself, in slots that never change."""

from __future__ import annotations

from typing import Final

from lyredb.storage.layout import ROLE_SLOT, SESSION_SLOT, TOPIC_SLOT, USER_SLOT
from lyredb.tables.layouts import layout_of
from lyredb.tables.schema import SYSTEM_DATABASE, Attribute, TableSchema, TypeRef
from lyredb.tables.stored import StoredTable

TOPIC_TABLE: Final = "Topic"


def _text(name: str, *, required: bool = True) -> Attribute:
    return Attribute(name, TypeRef("String", required=required))


def _key(name: str) -> Attribute:
    return Attribute(name, TypeRef("String"), role="primary key")


USERS: Final = TableSchema.of(
    "user",
    (
        _key("name"),
        _text("password"),
        _text("role"),
        Attribute("active", TypeRef("Boolean", required=True)),
    ),
    database=SYSTEM_DATABASE,
    description="Who may log in. The password is an argon2id hash.",
)
ROLES: Final = TableSchema.of(
    "role",
    (_key("name"),),
    database=SYSTEM_DATABASE,
    description="What users may do.",
)
SESSIONS: Final = TableSchema.of(
    "session",
    (_key("id"),),
    database=SYSTEM_DATABASE,
    description="What outlives a connection.",
)
TOPICS: Final = TableSchema.of(
    TOPIC_TABLE,
    (_key("id"),),
    description="Open topics: the key is the whole topic, the record the payload as received.",
)

BUILTIN_SCHEMAS: Final[dict[int, TableSchema]] = {
    USER_SLOT: USERS,
    ROLE_SLOT: ROLES,
    SESSION_SLOT: SESSIONS,
    TOPIC_SLOT: TOPICS,
}


def builtin_tables() -> tuple[StoredTable, ...]:
    """Return the built-in tables, by slot; none of them has an index before a server starts."""
    return tuple(
        StoredTable(schema, layout_of(schema, slot, {})) for slot, schema in BUILTIN_SCHEMAS.items()
    )
