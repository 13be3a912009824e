"""Topic patterns as access decides by them: bound to a principal, and as a view.

Bound once per principal and remembered, since a pattern is taken apart and filled with
names each time otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lyredb.security.principals import Role
from lyredb.security.topics import TopicRights, TopicRules

if TYPE_CHECKING:
    from lyredb.delivery.message import Message

EVERY_TOPIC: Final = "#"
"""What somebody needs who does not say which topic it is about."""
_MAX_BOUND: Final = 10_000
"""Principals; beyond it all are bound again. About 1 kB each with a few patterns."""


class TopicView:
    """Sees the messages of topics that may be read, whole; implements ``delivery.View``.

    For subscriptions that read: what is live is decided by topic, when its route is made.
    """

    __slots__ = ("_rights",)

    def __init__(self, rights: TopicRights) -> None:
        self._rights = rights

    def apply(self, message: Message) -> Message | None:
        """Return the message, ``None`` when its topic may not be read."""
        topic = message.topic.decode()
        return message if self._rights.may_all("read", topic) else None


class TopicAccess:
    """What principals may do by the patterns of their roles."""

    def __init__(self) -> None:
        self._bound: dict[Role, tuple[TopicRules, TopicRights]] = {}

    def rights(self, principal: Role, rules: TopicRules) -> TopicRights | None:
        """Return what a principal may do, ``None`` when it does not tell who it is.

        Args:
            principal: Of the role.
            rules: Of the role as they are now.
        """
        if lacks(principal, rules):
            return None
        known = self._bound.get(principal)
        if known is not None and known[0] is rules:
            return known[1]
        rights = rules.bound(principal.user or "", principal.client or "")
        if len(self._bound) >= _MAX_BOUND:
            self._bound.clear()
        self._bound[principal] = (rules, rights)
        return rights


def lacks(principal: Role, rules: TopicRules) -> bool:
    """Tell whether patterns ask for more than a principal tells.

    So it is with one that was made before its role got such patterns.
    """
    return (rules.by_user and principal.user is None) or (
        rules.by_client and principal.client is None
    )
