"""Changes of users and roles take effect here, in the order of the log.

The tail calls before it tells any later entry, and everything happens before the call
returns: rights are new, caches that were made of the old ones are gone, subscriptions
that may not go on have ended, and connections whose login is void were told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lyredb.errors import NotAuthorised
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator
from lyredb.security.principals import role_named
from lyredb.security.roles import Roles
from lyredb.storage.entry import Entry
from lyredb.storage.layout import ROLE_SLOT, USER_SLOT
from lyredb.storage.mutation import Kind


class AccessTail(Protocol):
    """The tail of the log, as far as access goes (see ``delivery.tail``)."""

    def on(self, kind: Kind, handler: Callable[[Entry], None]) -> None:
        """Call the handler for each entry of a kind, before later ones are delivered."""


def watch_roles(tail: AccessTail, roles: Roles, database: Database) -> None:
    """Have changes of roles decide anew about everything that is under way."""

    def heed(entry: Entry) -> None:
        if entry.slot == ROLE_SLOT:
            name = entry.key.decode()
            roles.heed(name, entry.payload)
            database.access_changed(role_named(name))

    tail.on(Kind.ACCESS, heed)


def watch_users(tail: AccessTail, authenticator: Authenticator, database: Database) -> None:
    """Have changes of users end what their old logins carry.

    Connections that watch are told first, so that they can say why in their own words;
    what is left of the user's subscriptions ends in any case.
    """

    def heed(entry: Entry) -> None:
        if entry.slot != USER_SLOT:
            return
        name, reason = entry.key.decode(), entry.payload.decode()
        authenticator.forget(name)
        if reason:
            authenticator.revocations.tell(name, reason)
            database.end_user(name, NotAuthorised(reason))

    tail.on(Kind.ACCESS, heed)
