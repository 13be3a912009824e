"""The one decision: who may read, write and publish what.

There are two decision classes: the super user, who may do everything, and
everybody else, who may do nothing. Every path into the data asks here, by one of
the `Decision` names, so that roles can be decided in this one place.
"""

from __future__ import annotations

from typing import Literal

from lyredb.delivery.admission import ALL, Destination, View
from lyredb.errors import LyreError, NotAuthorised
from lyredb.plugins.context import Principal
from lyredb.resources.registry import Registry
from lyredb.resources.target import Target
from lyredb.security.principals import Role
from lyredb.tables.stored import StoredTable

Decision = Literal["describe", "read", "subscribe", "insert", "update", "delete", "publish"]
"""What somebody wants to do with a table.

``read`` covers get and query, ``subscribe`` current state, live events and resume,
``publish`` messages that are not retained and wills; retained ones are ``update``.
"""


class Access:
    """Decides for every protocol, and admits to delivery by topic."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def require(self, principal: Principal, decision: Decision, table: StoredTable) -> View:
        """Return what part of the table the principal sees when it does this.

        Raises:
            NotAuthorised: It may not.
        """
        view = self.decide(principal, decision, table)
        if view is None:
            raise NotAuthorised(f"{principal.name} may not {decision} {table.schema.name}")
        return view

    def decide(self, principal: Principal, decision: Decision, table: StoredTable) -> View | None:
        """As `require`, with ``None`` for a refusal."""
        if isinstance(principal, Role) and principal.super_user:
            return ALL
        return None

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
