"""What a session that outlives its connection adds to subscribing.

Its subscriptions are on disk before their SUBACK, they go on where the session slept, and
what they bring goes through the session's queue.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

from lyredb.plugins.delivery import Message
from lyredb.protocols.mqtt.durable_outbox import DurableOutbox
from lyredb.protocols.mqtt.grants import Grants
from lyredb.protocols.mqtt.openers import Opened
from lyredb.protocols.mqtt.packets import Request
from lyredb.resources.requests import SubscribeOptions
from lyredb.sessions.inbound import Committed
from lyredb.sessions.reading import Reader
from lyredb.sessions.stored import StoredSession
from lyredb.sessions.terms import StoredSubscription

Changes = Mapping[str, StoredSubscription | None]
"""Subscriptions by filter; None takes one away."""


class Keeper:
    """The subscriptions of one session, as they are kept.

    Args:
        stored: The session.
        outbox: Sends its messages.
        grants: What they are sent with.
    """

    __slots__ = ("_grants", "_outbox", "_stored")

    def __init__(self, stored: StoredSession, outbox: DurableOutbox, grants: Grants) -> None:
        self._stored = stored
        self._outbox = outbox
        self._grants = grants
        # At once: what is sent again comes before the filters go on.
        for subscription in stored.subscriptions.values():
            grants.add(subscription)

    @property
    def stored(self) -> Mapping[str, StoredSubscription]:
        """What is on disk, by filter."""
        return self._stored.subscriptions

    def options(self, topic_filter: str, options: SubscribeOptions) -> SubscribeOptions:
        """Have what is read go to the session, and a lost position be noted."""
        return dataclasses.replace(
            options,
            on_messages=self.take_read(topic_filter),
            on_reset=lambda _: self._stored.restart(topic_filter),
        )

    def take_read(self, topic_filter: str) -> Callable[[Sequence[Message]], None]:
        """What takes that which was read for a filter."""
        return partial(self._outbox.take_read, topic_filter)

    def place_of(self, topic_filter: str) -> tuple[str, bool]:
        """Where a filter on disk goes on: a position token, and whether without current state."""
        return self._stored.start_of(topic_filter)

    def go_on(self, topic_filter: str, subscription: Opened) -> None:
        """Note with which subscription a filter on disk goes on."""
        self._grants.add(self._stored.subscriptions[topic_filter])
        if not topic_filter.startswith("$"):
            self._stored.go_on(topic_filter, cast(Reader, subscription))

    def begin(
        self, topic_filter: str, subscription: Opened, *, is_current: bool, is_replay: bool
    ) -> None:
        """Note a subscription that is new, or begins anew; before `commit`."""
        if not topic_filter.startswith("$"):
            reader = cast(Reader, subscription)
            self._stored.begin(topic_filter, reader, is_current=is_current, is_replay=is_replay)

    def detach(self, topic_filter: str) -> None:
        """Note that a filter brings nothing for now."""
        self._grants.remove(topic_filter)
        self._stored.detach(topic_filter)

    def commit(self, changes: Changes, done: Committed) -> None:
        """Have changes on disk and known to every worker, then ``done``."""
        self._stored.set_subscriptions(changes, done)

    def apply(self, changes: Changes) -> None:
        """Send by them from now on."""
        for topic_filter, subscription in changes.items():
            if subscription is None:
                self._grants.remove(topic_filter)
            else:
                self._grants.add(subscription)


def stored_of(request: Request, identifier: int) -> StoredSubscription:
    """A subscription as it is kept; what it said of current state is over by then."""
    return StoredSubscription(
        request.filter,
        request.qos,
        identifier,
        request.no_local,
        request.retain_as_published,
    )


def request_of(stored: StoredSubscription) -> Request:
    """A subscription that is kept, as a client asks for one."""
    return Request(stored.filter, stored.qos, stored.no_local, stored.retain_as_published)
