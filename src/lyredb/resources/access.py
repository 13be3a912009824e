"""The one decision: who may read, write and publish what.

A decision class is a role. Every path into the data asks here, by one of the `Decision`
names, and each name stands for rights on a table in one place, `_ALLOWS`. Whether a
write that replaces or makes a record does the one or the other is known at its commit
only; there the condition decides that `WriteLimit` makes of the rights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from msgspec.structs import replace

from lyredb.delivery.admission import ALL, Destination, View
from lyredb.errors import LyreError, NotAuthorised, RecordExists, RecordMissing
from lyredb.plugins.context import Principal
from lyredb.resources.registry import Registry
from lyredb.resources.target import Target
from lyredb.security.principals import Role
from lyredb.security.rights import ALL_RIGHTS, NO_RIGHTS, TableRights
from lyredb.storage.mutation import Precondition
from lyredb.tables.stored import StoredTable

Decision = Literal["describe", "read", "subscribe", "insert", "save", "delete", "publish"]
"""What somebody wants to do with a table.

``read`` covers get and query, ``subscribe`` current state, live events and resume,
``insert`` the making of a record that must be new, ``save`` put, patch and retained
messages, ``publish`` messages that are not retained, wills among them.
"""

_ALLOWS: Final[Mapping[Decision, Callable[[TableRights], bool]]] = {
    "describe": lambda rights: rights.any,
    "read": lambda rights: rights.read,
    "subscribe": lambda rights: rights.read,
    "insert": lambda rights: rights.insert,
    "save": lambda rights: rights.insert or rights.update,
    "delete": lambda rights: rights.delete,
    "publish": lambda rights: rights.insert,
}
_TOLD: Final[Mapping[str, str]] = {"save": "insert or update", "publish": "publish to"}
"""How a refusal calls what was wanted, where a decision has a name that no role has."""


class Rights(Protocol):
    """Knows what roles may do; `lyredb.security.roles.Roles` is one."""

    @property
    def changes(self) -> int:
        """A number that is another one after each change."""

    def rights(self, role: str, table: str) -> TableRights:
        """Return what a role may do with a table, ``"<database>.<table>"``."""

    def is_super_user(self, role: str) -> bool:
        """Tell whether a role may do everything."""

    def changed_at(self) -> int:
        """The log position of the last change, told yet or not."""


@dataclass(frozen=True, slots=True)
class WriteLimit:
    """What a write that replaces or makes a record may do, when it may not do both.

    Attributes:
        may: The one that it may.
        who: Whose limit it is, for messages.
        table: Name of the table, for messages.
    """

    may: Literal["insert", "update"]
    who: str
    table: str

    def on(self, asked: Precondition | None) -> Precondition:
        """Return the condition of the writer: what the client asked, and this limit."""
        given = asked or Precondition()
        if self.may == "insert":
            return replace(given, must_be_absent=True)
        return replace(given, must_exist=True)

    def refusal(self, error: LyreError, asked: Precondition | None) -> NotAuthorised | None:
        """Return the lack of rights behind a condition that did not hold, if it is that.

        A client whose own condition did not hold is told so, with any rights.
        """
        given = asked or Precondition()
        if self.may == "insert":
            if isinstance(error, RecordExists) and not given.must_be_absent:
                return _refused(self.who, "update", self.table)
            return None
        needed = given.must_exist or given.any_of is not None
        if isinstance(error, RecordMissing) and not needed:
            return _refused(self.who, "insert", self.table)
        return None


class Access:
    """Decides for every protocol, and admits to delivery by topic.

    Args:
        registry: Knows which table a topic belongs to.
        roles: Know what each role may do.
    """

    def __init__(self, registry: Registry, roles: Rights) -> None:
        self._registry = registry
        self._roles = roles

    @property
    def changes(self) -> int:
        """A number that is another one after each change of a role."""
        return self._roles.changes

    def changed_at(self) -> int:
        """The log position of the last change of users or roles, told yet or not."""
        return self._roles.changed_at()

    def rights(self, principal: Principal, table: StoredTable) -> TableRights:
        """Return what somebody may do with a table."""
        if not isinstance(principal, Role):
            return NO_RIGHTS
        if principal.super_user:
            return ALL_RIGHTS
        return self._roles.rights(principal.name, table.name)

    def is_super_user(self, principal: Principal) -> bool:
        """Tell whether somebody may do everything, the server's own tables included."""
        return isinstance(principal, Role) and (
            principal.super_user or self._roles.is_super_user(principal.name)
        )

    def limit(self, principal: Principal, table: StoredTable) -> WriteLimit | None:
        """Return what restricts a ``save`` that was decided for, ``None`` if nothing does."""
        rights = self.rights(principal, table)
        if rights.insert and rights.update:
            return None
        return WriteLimit(
            "insert" if rights.insert else "update", principal.name, table.schema.name
        )

    def require(self, principal: Principal, decision: Decision, table: StoredTable) -> View:
        """Return what part of the table the principal sees when it does this.

        Raises:
            NotAuthorised: It may not.
        """
        view = self.decide(principal, decision, table)
        if view is None:
            raise _refused(principal.name, decision, table.schema.name)
        return view

    def decide(self, principal: Principal, decision: Decision, table: StoredTable) -> View | None:
        """As `require`, with ``None`` for a refusal."""
        return ALL if _ALLOWS[decision](self.rights(principal, table)) else None

    def publish(self, principal: Principal, protocol: str, topic: bytes) -> Destination:
        """Admit messages to a topic (implements ``delivery.Admission``).

        Raises:
            InvalidTopic: The topic cannot be one.
            UnknownTopic: No table has it.
            NotAuthorised: The principal may not publish there.
        """
        target = self._registry.topic(topic.decode(), protocol)
        self.require(principal, "publish", target.table)
        return Destination(
            slot=target.table.slot,
            key=target.key,
            id=target.id,
            table=target.table.name,
            kind="direct",
        )

    def read(self, principal: Principal, protocol: str, topic: bytes) -> View | None:
        """What a subscriber sees of a topic (implements ``delivery.Admission``)."""
        target = self._target(topic, protocol)
        if target is None:
            return None
        return self.decide(principal, "subscribe", target.table)

    def _target(self, topic: bytes, protocol: str) -> Target | None:
        try:
            return self._registry.topic(topic.decode(), protocol)
        except LyreError:
            # Not a topic of this protocol: a wildcard simply does not reach it.
            return None


def _refused(who: str, what: str, table: str) -> NotAuthorised:
    return NotAuthorised(f"{who} may not {_TOLD.get(what, what)} {table}")
