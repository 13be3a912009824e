"""What a subscription is in, and what it works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import cast

from lyredb.delivery.admission import View
from lyredb.delivery.finding import Searches
from lyredb.delivery.hub import Hub, Terms
from lyredb.delivery.message import Message as DeliveredMessage
from lyredb.delivery.tail import Tail
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Encoding, Message
from lyredb.resources.access import Access
from lyredb.resources.held import HeldBytes
from lyredb.resources.registry import Registry
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.turns import Turns
from lyredb.storage.engine import Engine


class State(Enum):
    """Where a subscription is in its life."""

    PREPARED = "prepared"
    ANNOUNCED = "announced"
    READING = "reading"
    LIVE = "live"
    BEHIND = "behind"
    CLOSED = "closed"


class SharedTerms:
    """Makes terms of the hub; those that equal the last ones are the same object.

    Who subscribes does it for many filters, and its neighbour is served like it.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: Terms | None = None

    def of(
        self, options: SubscribeOptions, encoding: Encoding, context: Context, *, scanning: bool
    ) -> Terms:
        """Return the terms of a subscription.

        Args:
            options: How it wants to be served.
            encoding: In place of theirs.
            context: Whose it is.
            scanning: As in `Terms`.
        """
        no_local = context.session if options.no_local else 0
        last = self._last
        if (
            last is not None
            and last.encoding is encoding
            and last.principal is context.principal
            and last.qos == options.qos
            and last.ids == options.ids
            and last.no_local == no_local
            and last.scanning == scanning
            and last.retain_as_published == options.retain_as_published
            and last.protocol == context.protocol
        ):
            return last
        last = self._last = Terms(
            encoding=encoding,
            qos=options.qos,
            principal=context.principal,
            protocol=context.protocol,
            ids=options.ids,
            retain_as_published=options.retain_as_published,
            no_local=no_local,
            scanning=scanning,
        )
        return last


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a subscription works with; one for all subscriptions of a database."""

    engine: Engine
    registry: Registry
    access: Access
    hub: Hub
    tail: Tail
    turns: Turns
    held: HeldBytes
    searches: Searches
    terms: SharedTerms = field(default_factory=SharedTerms)


def masked(messages: Sequence[Message], masks: Mapping[str, View]) -> list[Message]:
    """Return what is seen of messages that were read from the store, or held.

    Args:
        messages: In order.
        masks: By the names of tables; of those that have none all is seen.
    """
    seen: list[Message] = []
    for message in messages:
        mask = masks.get(message.table)
        part = message if mask is None else mask.apply(cast("DeliveredMessage", message))
        if part is not None:
            seen.append(part)
    return seen
