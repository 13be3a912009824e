"""What a subscription is in, and what it works with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from lyredb.delivery.hub import Hub
from lyredb.delivery.tail import Tail
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
