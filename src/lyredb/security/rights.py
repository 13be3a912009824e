"""What a role may do with a table, and how a role's definition is read and checked.

The form is that of ``roles.yaml``: role → database → table → rights, and below a table
``attributes:`` → attribute → rights. The levels ``permission:`` and ``tables:`` may stand in
between, and ``attribute_permissions:`` may be a list, as in definitions that come from the
operations of older systems. Beside the databases ``topics:`` may stand, with patterns for
open topics (`lyredb.security.topics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lyredb.errors import InvalidRecord
from lyredb.security.changes import is_name
from lyredb.security.topics import (
    MAX_PATTERNS,
    WORDS,
    TopicRules,
    Word,
    pattern_problem,
)
from lyredb.tables.builtin import TOPIC_TABLE
from lyredb.tables.schema import SYSTEM_DATABASE

ANY: Final = "*"
"""In place of a database, table or attribute: each that has no entry of its own."""

_MAX_PROBLEMS: Final = 20
_LATER: Final = ("structure_user", "cluster_user", "operations")
_ATTRIBUTES: Final = ("attributes", "attribute_permissions")
_ATTRIBUTE_NAME: Final = "attribute_name"
_TOPICS: Final = "topics"
OPEN_TOPICS: Final = ("data", TOPIC_TABLE)
"""Database and table of open topics."""


@dataclass(frozen=True, slots=True)
class AttributeRights:
    """What may be done with one attribute of a table's records."""

    read: bool = False
    insert: bool = False
    update: bool = False

    def as_mapping(self) -> dict[str, bool]:
        """Return all three, by name."""
        return {name: getattr(self, name) for name in ATTRIBUTE_RIGHTS}


@dataclass(frozen=True, slots=True)
class TableRights:
    """What may be done with the records and messages of a table.

    Attributes:
        attributes: By name, when only some attributes may be used: those that are not
            listed may not. `ANY` in place of a name: each declared one that has no entry of
            its own. Empty: the table's rights are those of all attributes.
        topics: Of open topics, where patterns decide: the rights are those on some topics
            at most.
    """

    read: bool = False
    insert: bool = False
    update: bool = False
    delete: bool = False
    attributes: Mapping[str, AttributeRights] = field(
        default_factory=dict, hash=False, kw_only=True
    )
    topics: TopicRules | None = field(default=None, hash=False, kw_only=True)

    @property
    def any(self) -> bool:
        """Whether anything at all may be done."""
        return self.read or self.insert or self.update or self.delete

    def allowed(self, right: AttributeRight, declared: Iterable[str]) -> frozenset[str] | None:
        """Return the attributes that this may be done with, ``None`` for all.

        Args:
            right: What is to be done.
            declared: The attributes of the table that `ANY` stands for.
        """
        if not self.attributes:
            return None
        names = [name for name, one in self.attributes.items() if getattr(one, right)]
        if ANY in names:
            names += [name for name in declared if name not in self.attributes]
        return frozenset(names) - {ANY}

    def as_mapping(self) -> dict[str, object]:
        """Return all four, by name, and those of attributes when there are any."""
        given: dict[str, object] = {name: getattr(self, name) for name in RIGHTS}
        if self.attributes:
            given["attributes"] = {name: one.as_mapping() for name, one in self.attributes.items()}
        return given


AttributeRight = Literal["read", "insert", "update"]
RIGHTS: Final = ("read", "insert", "update", "delete")
ATTRIBUTE_RIGHTS: Final[tuple[AttributeRight, ...]] = ("read", "insert", "update")
"""A record is deleted whole."""
NO_RIGHTS: Final = TableRights()
ALL_RIGHTS: Final = TableRights(read=True, insert=True, update=True, delete=True)


@dataclass(frozen=True, slots=True)
class RoleDefinition:
    """A role and what its users may do.

    Attributes:
        name: As in user records.
        super_user: May do everything; then there are no ``databases``.
        databases: Rights by database and table, `ANY` in place of either.
        topics: What decides on open topics, in place of a line of their table; ``None`` for
            nothing of its own. A database cannot be called so then.
    """

    name: str
    super_user: bool = False
    databases: Mapping[str, Mapping[str, TableRights]] = field(default_factory=dict)
    topics: TopicRules | None = None

    def __post_init__(self) -> None:
        if self.topics is not None and _TOPICS in self.databases:
            raise ValueError(f"a role has either a database {_TOPICS} or topic patterns")

    def rights(self, database: str, table: str) -> TableRights:
        """Return the rights on a table: the most exact entry decides, alone.

        In this order: patterns for open topics, the table in its database, every table of
        the database, the table in every database, every table.
        """
        if self.super_user:
            return ALL_RIGHTS
        if database == SYSTEM_DATABASE:
            return NO_RIGHTS
        if self.topics is not None and (database, table) == OPEN_TOPICS:
            writes = self.topics.gives("write")
            return TableRights(
                self.topics.gives("read"), writes, writes, writes, topics=self.topics
            )
        for place in (database, ANY):
            tables = self.databases.get(place, {})
            for name in (table, ANY):
                if name in tables:
                    return tables[name]
        return NO_RIGHTS

    def as_mapping(self) -> dict[str, object]:
        """Return the definition in the form that `read_role` takes."""
        if self.super_user:
            return {"super_user": True}
        given: dict[str, object] = {
            database: {table: rights.as_mapping() for table, rights in tables.items()}
            for database, tables in self.databases.items()
        }
        return given if self.topics is None else {_TOPICS: dict(self.topics.words)} | given


def read_role(name: str, value: object) -> RoleDefinition:
    """Read a role's definition.

    Args:
        name: Of the role.
        value: A mapping of databases to tables to rights, or ``super_user: true``.

    Raises:
        InvalidRecord: With one problem per thing that is wrong.
    """
    reader = _Reader(name)
    definition = reader.read(value)
    if reader.problems:
        raise InvalidRecord(*reader.problems[:_MAX_PROBLEMS])
    return definition


class _Reader:
    """Reads one definition and collects what is wrong with it."""

    def __init__(self, role: str) -> None:
        self._role = role
        self.problems: list[str] = []

    def read(self, value: object) -> RoleDefinition:
        if not is_name(self._role):
            self._note("", "the name must have 1 to 255 bytes, without colon and control letters")
        permission = self._mapping(value, "")
        if "permission" in permission:
            for other in permission:
                if other not in ("permission", "role", "id"):
                    self._note(other, "stands beside permission")
            permission = self._mapping(permission["permission"], "permission")
        super_user = self._flag(permission.get("super_user", False), "super_user")
        for key in _LATER:
            if permission.get(key):
                self._note(key, "is not known to this version")
        topics = self._topics(permission.get(_TOPICS))
        apart = ("super_user", *_LATER) if topics is None else ("super_user", *_LATER, _TOPICS)
        databases = {
            name: self._tables(name, tables)
            for name, tables in permission.items()
            if name not in apart
        }
        if super_user and (databases or topics is not None):
            self._note("super_user", "a super user may do everything: list nothing else")
            return RoleDefinition(self._role, super_user)
        if topics is not None and OPEN_TOPICS[1] in databases.get(OPEN_TOPICS[0], {}):
            self._note(".".join(OPEN_TOPICS), "the patterns below topics decide: list one of both")
        return RoleDefinition(self._role, super_user, databases, topics)

    def _topics(self, value: object) -> TopicRules | None:
        """Read ``{pattern: read}``; a mapping of mappings is a database that is called so."""
        if not isinstance(value, Mapping):
            if value is not None:
                self._note(_TOPICS, "must be a mapping of patterns to read, write, both or none")
            return None
        if value and all(isinstance(one, Mapping) for one in value.values()):
            return None
        words: dict[str, Word] = {}
        if len(value) > MAX_PATTERNS:
            self._note(_TOPICS, f"a role has at most {MAX_PATTERNS} patterns")
            return TopicRules(words)
        for text, word in value.items():
            problem = pattern_problem(text) if isinstance(text, str) else "is no pattern"
            if not problem and word not in WORDS:
                problem = f"takes {', '.join(WORDS)}"
            if problem:
                self._note(f"{_TOPICS}, {str(text)[:60]!r}", problem)
            else:
                words[text] = word
        return TopicRules(words)

    def _tables(self, database: str, value: object) -> Mapping[str, TableRights]:
        if database == SYSTEM_DATABASE:
            self._note(database, "the database of the server itself is for super users only")
        tables = self._mapping(value, database)
        inner = tables.get("tables")
        # A table may be called so, too: then what it holds are rights and no mappings.
        if isinstance(inner, Mapping) and all(isinstance(one, Mapping) for one in inner.values()):
            for other in tables:
                if other != "tables":
                    self._note(f"{database}.{other}", "stands beside tables")
            tables = self._mapping(inner, f"{database}.tables")
        return {name: self._rights(f"{database}.{name}", one) for name, one in tables.items()}

    def _rights(self, where: str, value: object) -> TableRights:
        given: dict[str, Any] = {}
        listed: list[Mapping[str, AttributeRights]] = []
        for right, allowed in self._mapping(value, where).items():
            if right in _ATTRIBUTES:
                listed.append(self._attributes(f"{where}.{right}", allowed))
            elif right not in RIGHTS:
                self._note(where, f"{right[:40]!r} is no right; rights are {', '.join(RIGHTS)}")
            else:
                given[right] = self._flag(allowed, f"{where}.{right}")
        if len(listed) > 1:
            self._note(where, f"takes one of {' and '.join(_ATTRIBUTES)}, not both")
        rights = TableRights(**given, attributes=listed[0] if listed else {})
        self._refuse_more(where, rights)
        return rights

    def _attributes(self, where: str, value: object) -> Mapping[str, AttributeRights]:
        """Read ``{name: {read: true}}``, or ``[{attribute_name: name, read: true}]``."""
        if value is None:
            return {}
        if not isinstance(value, list):
            found = self._mapping(value, where)
            return {name: self._attribute(f"{where}.{name}", one) for name, one in found.items()}
        attributes: dict[str, AttributeRights] = {}
        for index, one in enumerate(value):
            given = dict(self._mapping(one, f"{where}[{index}]"))
            name = given.pop(_ATTRIBUTE_NAME, None)
            if not isinstance(name, str) or not name:
                self._note(f"{where}[{index}]", f"{_ATTRIBUTE_NAME} must be a name")
            elif name in attributes:
                self._note(where, f"{name[:40]!r} is listed twice")
            else:
                attributes[name] = self._attribute(f"{where}.{name}", given)
        return attributes

    def _attribute(self, where: str, value: object) -> AttributeRights:
        given = {}
        for right, allowed in self._mapping(value, where).items():
            if right in ATTRIBUTE_RIGHTS:
                given[right] = self._flag(allowed, f"{where}.{right}")
            elif right == "delete":
                if allowed:
                    self._note(where, "delete is a right on whole records: give it to the table")
            else:
                known = ", ".join(ATTRIBUTE_RIGHTS)
                self._note(where, f"{right[:40]!r} is no right on an attribute; those are {known}")
        return AttributeRights(**given)

    def _refuse_more(self, where: str, rights: TableRights) -> None:
        """An attribute's right without the table's would never hold."""
        for right in ATTRIBUTE_RIGHTS:
            beyond = sorted(name for name, one in rights.attributes.items() if getattr(one, right))
            if beyond and not getattr(rights, right):
                names = ", ".join(name[:40] for name in beyond)
                self._note(where, f"{right} of {names} needs {right} of the table")

    def _mapping(self, value: object, where: str) -> Mapping[str, object]:
        if not isinstance(value, Mapping):
            self._note(where, f"must be a mapping, not {type(value).__name__}")
            return {}
        for key in self._bad_names(value):
            self._note(where, f"{key!r} is no name")
        return {key: one for key, one in value.items() if isinstance(key, str) and key}

    @staticmethod
    def _bad_names(value: Mapping[object, object]) -> Iterator[object]:
        return (key for key in value if not isinstance(key, str) or not key)

    def _flag(self, value: object, where: str) -> bool:
        if not isinstance(value, bool):
            self._note(where, "must be true or false")
            return False
        return value

    def _note(self, where: str, problem: str) -> None:
        place = f"role {self._role[:60]!r}" + (f", {where[:100]}" if where else "")
        self.problems.append(f"{place}: {problem}")
