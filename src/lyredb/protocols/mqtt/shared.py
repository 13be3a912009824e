"""Shared subscriptions (MQTT 5 §4.8.2): ``$share/<share name>/<filter>``, in every version.

One member of a group gets each message, on whichever worker it is; the groups themselves
are in `lyredb.sessions.groups`. There is no current state for them (§4.8.2: retained
messages are not sent to a shared subscription), and QoS is the lower one of the message's
and the member's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from lyredb.plugins.delivery import Message
from lyredb.protocols.mqtt.openers import Opened, Opener, Refusal, Wish
from lyredb.protocols.mqtt.reasons import Reason, protocol_error
from lyredb.protocols.mqtt.replay import QUERY
from lyredb.protocols.mqtt.sys_topics import SYS
from lyredb.resources.database import Database
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State
from lyredb.sessions.group_parts import GroupName
from lyredb.sessions.groups import Groups
from lyredb.sessions.receipts import Receipt

SHARE = "$share"
_OF_ONE: Final = frozenset((SHARE, SYS, QUERY))
"""First levels of what is made for each subscriber: there is nothing to be shared."""


def shared_opener(groups: Groups, database: Database) -> Opener:
    """The opener for ``$share``."""

    def open_shared(wish: Wish) -> Opened:
        name = group_of(wish.filter, wish.context.principal.key)
        if wish.options.no_local:
            raise protocol_error("A shared subscription cannot have No Local")  # [MQTT-3.8.3-4]
        # Whoever joins needs the rights itself; the subscription is the group's.
        database.subscribe(name.filter, wish.subscriber, wish.context, wish.options).close()
        return SharedSubscription(groups, name, wish)

    return open_shared


def group_of(topic_filter: str, role: str) -> GroupName:
    """The group that a filter names.

    Raises:
        Refusal: It names none [MQTT-4.8.2-1, MQTT-4.8.2-2], or of what cannot be shared.
    """
    _, _, rest = topic_filter.partition("/")
    share, slash, inner = rest.partition("/")
    if not share or not slash or not inner or "+" in share or "#" in share:
        raise Refusal(
            Reason.TOPIC_FILTER_INVALID, "A shared subscription is $share/<name>/<topic filter>"
        )
    first = inner.partition("/")[0]
    if first in _OF_ONE:
        raise Refusal(Reason.TOPIC_FILTER_INVALID, f"{first} cannot be shared")
    return GroupName(share, inner, role)


class SharedSubscription:
    """One member's subscription (an `Opened`, and a `lyredb.sessions.group.Member`)."""

    __slots__ = ("_groups", "_name", "_options", "_qos", "_wish", "state")

    def __init__(self, groups: Groups, name: GroupName, wish: Wish) -> None:
        self.state = State.PREPARED
        self._groups = groups
        self._name = name
        self._wish = wish
        self._options = wish.options
        groups.reserve(name, wish.context, is_durable=wish.is_durable, is_new=not wish.after)

    def when_ready(self, callback: Callable[[], None]) -> None:
        """Call back once the group gets whatever is published."""
        self._groups.when_ready(self._name, callback)

    def start(self) -> None:
        """Take the seat: messages come from now on."""
        if self.state is not State.PREPARED:
            return
        self.state = State.LIVE
        if not self._groups.join(self._name, self):
            self.state = State.CLOSED

    def resume(self) -> None:
        """Go on: the connection has drained."""
        if self.state is State.LIVE:
            self._groups.note_room(self._name, self)

    def fall_behind(self) -> None:
        """Nothing: what this one has no room for goes to others, or waits for all of them."""

    def update(self, options: SubscribeOptions) -> None:
        """Serve by other options from now on."""
        if options.no_local:
            raise protocol_error("A shared subscription cannot have No Local")
        self._options = options

    def unsubscribe(self) -> None:
        """The client wants it no more, and not only for as long as it is away."""
        if self._wish.is_durable and self.state is not State.CLOSED:
            self._groups.unsubscribe(self._name)

    def close(self) -> None:
        """Leave the group."""
        before, self.state = self.state, State.CLOSED
        if before is State.LIVE:
            self._groups.leave(self._name, self)
        elif before is not State.CLOSED:
            self._groups.give_up(self._name)

    # What the group asks of a member

    @property
    def is_congested(self) -> bool:
        """True while more waits for the client than should."""
        return self._wish.subscriber.is_congested

    def tell(
        self,
        message: Message,
        settled: Callable[[bool], None],
        taken: Callable[[], None],
        receipt: Receipt | None,
    ) -> None:
        """Send a message.

        One of QoS 2 to a client whose session lasts leaves when that has it on disk; to one
        without, when its receipt is there.
        """
        options = self._options
        qos = min(options.qos, message.qos)
        if qos == 2 and receipt is not None and not self._wish.is_durable:
            self._groups.write_receipt(receipt, partial(self._tell_taken, message, settled))
        else:
            self._wish.outgoing.tell(message, qos, options.ids, settled, taken, receipt)

    def _tell_taken(
        self, message: Message, settled: Callable[[bool], None], is_taken: bool
    ) -> None:
        if is_taken and self.state is State.LIVE:
            self._wish.outgoing.tell(message, 2, self._options.ids, settled)
        else:
            settled(False)

    def end(self, reason: Exception) -> None:
        """The group is over."""
        self.state = State.CLOSED
        if self._options.on_error is not None:
            self._options.on_error(reason)
