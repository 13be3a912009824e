"""The one decision: who may read, write and publish what.

A decision class is a role, or a part of it (`Access.identify`). Every path into the data
asks here, by one of the `Decision` names, and each name stands for rights on a table in one
place, `_ALLOWS`. What is narrower than a table is asked besides: the topic, where patterns
decide on open topics; which attributes are `readable` and `writable`; and what `limit` a
write has that was decided for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol

from msgspec.structs import replace

from lyredb.delivery.admission import ALL, Destination, View
from lyredb.errors import LyreError, NotAuthorised
from lyredb.plugins.context import Context, Principal
from lyredb.resources.allowance import EVERYTHING, NOTHING, Allowance, allowance_of
from lyredb.resources.registry import Registry
from lyredb.resources.target import Target
from lyredb.resources.topic_access import EVERY_TOPIC, TopicAccess, TopicView, lacks
from lyredb.resources.write_limit import WriteLimit
from lyredb.security.principals import Role
from lyredb.security.rights import TableRights
from lyredb.security.topics import TopicRights, TopicRules
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
_SEES: Final[frozenset[Decision]] = frozenset(("read", "subscribe"))
"""Decisions after which something is seen: by the view that belongs to the table."""
_MAX_ALLOWANCES: Final = 10_000
"""Roles times tables; beyond it they are worked out again."""
_TOLD: Final[Mapping[str, str]] = {"save": "insert or update", "publish": "publish to"}
"""How a refusal calls what was wanted, where a decision has a name that no role has."""


class Rights(Protocol):
    """Knows what roles may do; `lyredb.security.roles.Roles` is one."""

    @property
    def changes(self) -> int:
        """A number that is another one after each change."""

    def rights(self, role: str, table: str) -> TableRights:
        """Return what a role may do with a table, ``"<database>.<table>"``."""

    def topics(self, role: str) -> TopicRules | None:
        """Return the patterns of a role that decide on open topics, ``None`` for none."""

    def is_super_user(self, role: str) -> bool:
        """Tell whether a role may do everything."""

    def changed_at(self) -> int:
        """The log position of the last change, told yet or not."""


class Reader:
    """What one principal may read, for one answer; a ``Readable`` of the query engine.

    It remembers what it has said, so that a long answer can end when that is true no more.
    """

    __slots__ = ("_access", "_changes", "_principal", "_said", "_target")

    def __init__(self, access: Access, principal: Principal, target: Target) -> None:
        self._access = access
        self._principal = principal
        self._target = target
        self._changes = access.changes
        self._said: dict[StoredTable, frozenset[str] | None] = {}

    def __call__(self, table: StoredTable) -> frozenset[str] | None:
        """See `Access.readable`."""
        names = self._said[table] = self._readable(table)
        return names

    def _readable(self, table: StoredTable) -> frozenset[str] | None:
        """Ask for what the query is about; of joined tables, for everything."""
        target = self._target
        topic = target.topic if table is target.table else EVERY_TOPIC
        return self._access.readable(self._principal, table, topic)

    def require_still(self) -> None:
        """See to it that all that was said holds; cheap while no role has changed.

        Raises:
            NotAuthorised: Something may be read no more.
        """
        changes = self._access.changes
        if changes == self._changes:
            return
        for table, said in self._said.items():
            now = self._readable(table)
            if now is not None and (said is None or not said <= now):
                raise _refused(self._principal.name, "read all of", table.schema.name)
        self._changes = changes


class Access:
    """Decides for every protocol, and admits to delivery by topic.

    Args:
        registry: Knows which table a topic belongs to.
        roles: Know what each role may do.
    """

    def __init__(self, registry: Registry, roles: Rights) -> None:
        self._registry = registry
        self._roles = roles
        self._allowances: dict[tuple[str, str], tuple[TableRights, StoredTable, Allowance]] = {}
        self._topics = TopicAccess()

    def identify(self, context: Context) -> Context:
        """Return a context with the decision class that it belongs to by now.

        Whoever makes a context of somebody's role asks once, before anything is decided.
        """
        principal = context.principal
        if not isinstance(principal, Role) or principal.super_user:
            return context
        rules = self._roles.topics(principal.name)
        user = context.user if rules is not None and rules.by_user else None
        client = context.client_id if rules is not None and rules.by_client else None
        if (user, client) == (principal.user, principal.client):
            return context
        return replace(context, principal=Role(principal.name, user=user, client=client))

    def is_outdated(self, principal: Principal) -> bool:
        """Tell whether a role got patterns that tell apart whom this principal does not.

        Nothing on open topics is allowed to it any more: its context has to be made again.
        """
        if not isinstance(principal, Role) or principal.super_user:
            return False
        rules = self._roles.topics(principal.name)
        return rules is not None and lacks(principal, rules)

    @property
    def changes(self) -> int:
        """A number that is another one after each change of a role."""
        return self._roles.changes

    def changed_at(self) -> int:
        """The log position of the last change of users or roles, told yet or not."""
        return self._roles.changed_at()

    def rights(self, principal: Principal, table: StoredTable) -> TableRights:
        """Return what somebody may do with a table."""
        return self._allowance(principal, table).rights

    def readable(
        self, principal: Principal, table: StoredTable, topic: str = EVERY_TOPIC
    ) -> frozenset[str] | None:
        """Return the attributes that somebody may read, ``None`` for all.

        Args:
            principal: Who.
            table: Where.
            topic: The topic or topic filter of what is read, which matters where patterns
                decide.

        Raises:
            NotAuthorised: It may not read the table, or not all that the filter matches.
        """
        found = self._allowance(principal, table)
        if not self._allows(principal, "read", found, topic):
            raise _refused(principal.name, "read", table.schema.name)
        return found.readable

    def writable(
        self, principal: Principal, table: StoredTable, right: Literal["insert", "update"]
    ) -> frozenset[str] | None:
        """Return the attributes that may be given to a new record, or changed in one.

        ``None`` for all. The key and the times that the server sets are always among them:
        what a request says of these has no effect.

        Raises:
            NotAuthorised: It may do neither with any record of the table.
        """
        found = self._allowance(principal, table)
        if not getattr(found.rights, right):
            raise _refused(principal.name, right, table.schema.name)
        return found.insertable if right == "insert" else found.updatable

    def usable(self, principal: Principal, table: StoredTable) -> frozenset[str] | None:
        """Return the attributes with which somebody may do anything, ``None`` for all."""
        return self._allowance(principal, table).usable

    def reader(self, principal: Principal, target: Target) -> Reader:
        """Return what a query of a target asks which attributes it may use."""
        return Reader(self, principal, target)

    def _allowance(self, principal: Principal, table: StoredTable) -> Allowance:
        if not isinstance(principal, Role):
            return NOTHING
        if principal.super_user:
            return EVERYTHING
        name = principal.name
        rights = self._roles.rights(name, table.name)
        known = self._allowances.get((name, table.name))
        # Both are made anew when the role or the schema changes, so identity tells.
        if known is not None and known[0] is rights and known[1] is table:
            return known[2]
        is_super = self._roles.is_super_user(name)
        found = EVERYTHING if is_super else allowance_of(name, rights, table)
        if len(self._allowances) >= _MAX_ALLOWANCES:
            self._allowances.clear()
        self._allowances[(name, table.name)] = (rights, table, found)
        return found

    def is_super_user(self, principal: Principal) -> bool:
        """Tell whether somebody may do everything, the server's own tables included."""
        return isinstance(principal, Role) and (
            principal.super_user or self._roles.is_super_user(principal.name)
        )

    def limit(self, principal: Principal, table: StoredTable) -> WriteLimit | None:
        """Return what restricts a put, patch or creation, ``None`` if nothing does.

        It does not decide whether there may be one at all: that is `require`.
        """
        return self._allowance(principal, table).limit

    def admit(
        self, principal: Principal, decision: Decision, table: StoredTable, topic: str
    ) -> WriteLimit | None:
        """Do what `require` and then `limit` do, for half of their price.

        Raises:
            NotAuthorised: It may not.
        """
        found = self._allowance(principal, table)
        rights = found.rights
        if not _ALLOWS[decision](rights) or (
            rights.topics is not None and not self._allows(principal, decision, found, topic)
        ):
            raise _refused(principal.name, decision, table.schema.name)
        return found.limit

    def require(
        self,
        principal: Principal,
        decision: Decision,
        table: StoredTable,
        topic: str = EVERY_TOPIC,
    ) -> View:
        """Return what part of the table the principal sees when it does this.

        Args:
            principal: Who.
            decision: What it wants to do.
            table: Where.
            topic: The topic of what it is done to, or a filter of all of it. Matters where
                patterns decide: there all that the filter matches has to be allowed.

        Raises:
            NotAuthorised: It may not.
        """
        view = self.decide(principal, decision, table, topic)
        if view is None:
            raise _refused(principal.name, decision, table.schema.name)
        return view

    def decide(
        self,
        principal: Principal,
        decision: Decision,
        table: StoredTable,
        topic: str = EVERY_TOPIC,
    ) -> View | None:
        """As `require`, with ``None`` for a refusal."""
        found = self._allowance(principal, table)
        if not self._allows(principal, decision, found, topic):
            return None
        return found.view if decision in _SEES else ALL

    def sees(self, principal: Principal, table: StoredTable, topic_filter: str) -> View | None:
        """Return what a subscription sees of a table, ``None`` for nothing at all.

        Where patterns decide it need not be all that the filter matches.
        """
        found = self._allowance(principal, table)
        if not _ALLOWS["subscribe"](found.rights):
            return None
        if found.rights.topics is None:
            return found.view
        rights = self._bound(principal, found.rights.topics)
        if rights is None or not rights.may_some("read", topic_filter):
            return None
        return found.view if rights.may_all("read", topic_filter) else TopicView(rights)

    def may_read(self, principal: Principal, topic: str) -> bool:
        """Tell whether patterns give a topic that is of no table, as the server's own are."""
        if self.is_super_user(principal):
            return True
        rules = self._roles.topics(principal.name) if isinstance(principal, Role) else None
        rights = None if rules is None else self._bound(principal, rules)
        return rights is not None and rights.may_all("read", topic)

    def _allows(
        self, principal: Principal, decision: Decision, found: Allowance, topic: str
    ) -> bool:
        if not _ALLOWS[decision](found.rights):
            return False
        if found.rights.topics is None:
            return True
        rights = self._bound(principal, found.rights.topics)
        if rights is None or decision == "describe":
            return rights is not None
        return rights.may_all("read" if decision in _SEES else "write", topic)

    def _bound(self, principal: Principal, rules: TopicRules) -> TopicRights | None:
        return self._topics.rights(principal, rules) if isinstance(principal, Role) else None

    def publish(self, principal: Principal, protocol: str, topic: bytes) -> Destination:
        """Admit messages to a topic (implements ``delivery.Admission``).

        Raises:
            InvalidTopic: The topic cannot be one.
            UnknownTopic: No table has it.
            NotAuthorised: The principal may not publish there.
        """
        target = self._registry.topic(topic.decode(), protocol)
        self.require(principal, "publish", target.table, target.topic)
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
        return self.decide(principal, "subscribe", target.table, target.topic)

    def _target(self, topic: bytes, protocol: str) -> Target | None:
        try:
            return self._registry.topic(topic.decode(), protocol)
        except LyreError:
            # Not a topic of this protocol: a wildcard simply does not reach it.
            return None


def unreadable(principal: Principal, table: StoredTable, what: str) -> NotAuthorised:
    """Return the refusal of an attribute that may not be read, whether there is one or not."""
    return NotAuthorised(f"{principal.name} may not read {what[:60]} of {table.schema.name}")


def _refused(who: str, what: str, table: str) -> NotAuthorised:
    return NotAuthorised(f"{who} may not {_TOLD.get(what, what)} {table}")
