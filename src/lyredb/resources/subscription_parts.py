"""What a subscription is in, and what it works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import cast

from lyredb.delivery.admission import View
from lyredb.delivery.finding import Searches
from lyredb.delivery.hub import Hub
from lyredb.delivery.message import Message as DeliveredMessage
from lyredb.delivery.tail import Tail
from lyredb.plugins.delivery import Message
from lyredb.resources.access import Access
from lyredb.resources.held import HeldBytes
from lyredb.resources.registry import Registry
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
