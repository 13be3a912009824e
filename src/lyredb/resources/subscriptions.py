"""All subscriptions of a node: who has which, and what becomes of them together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from lyredb.plugins.context import Context, Principal
from lyredb.plugins.delivery import Subscriber
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.siblings import Siblings
from lyredb.resources.subscription import Rooms, Subscription

_logger: Final = logging.getLogger(__name__)


class Subscriptions:
    """Those that are not closed; iterating is over a copy, since acting on one may end it.

    Attributes:
        rooms: What each of them needs, and what all hold together.
    """

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self._on_close = self._forget  # one for all: there may be a million
        self._of: dict[Subscriber, Siblings[Subscription]] = {}

    def __iter__(self) -> Iterator[Subscription]:
        return iter([one for each in self._of.values() for one in each.all])

    def prepare(
        self,
        filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
        after: str = "",
    ) -> Subscription:
        """Make one; see `Database.subscribe`."""
        siblings = self._of.get(subscriber)
        if siblings is None:
            siblings = Siblings()
        subscription = Subscription(
            self.rooms,
            filter,
            subscriber,
            context,
            options,
            after,
            siblings=siblings,
            on_close=self._on_close,
        )
        siblings.add(subscription)
        if after:
            siblings.note_place(subscription)
        self._of[subscriber] = siblings
        return subscription

    def _forget(self, subscription: Subscription) -> None:
        siblings = self._of[subscription.subscriber]
        siblings.remove(subscription)
        if not siblings.all:
            del self._of[subscription.subscriber]

    def access_changed(self, principal: Principal) -> None:
        """Ask again what those of a principal may have."""
        for subscription in self:
            if subscription.context.principal.name == principal.name:
                _isolated(subscription, subscription.access_changed)

    def tables_changed(self) -> None:
        """Go on with what the filters reach by the tables of now."""
        self.rooms.searches.forget()
        for subscription in self:
            _isolated(subscription, subscription.tables_changed)

    def end_user(self, user: str, reason: Exception) -> None:
        """End those that a user's logins carry."""
        for subscription in self:
            if subscription.context.user == user:
                _isolated(subscription, partial(subscription.revoke, reason))

    def end_all(self, reason: Exception) -> None:
        """End every one."""
        for subscription in self:
            subscription.end(reason)


def _isolated(subscription: Subscription, act: Callable[[], None]) -> None:
    """Act on one of many: what fails in it must not leave the others with their rights."""
    try:
        act()
    except Exception:
        _logger.exception("the subscription %r ends, it could not be decided", subscription.filter)
        subscription.close()
