"""What delivery asks of resources: may this principal, which record is this topic.

Protocol classes only, implemented by ``lyredb.resources``. Answers are cached per topic
until the hub is told otherwise (``Hub.access_changed``, ``Hub.topics_changed``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from lyredb.delivery.message import Message
from lyredb.plugins.context import Principal

DestinationKind = Literal["direct", "logged", "hooked"]


@dataclass(frozen=True, slots=True)
class Destination:
    """What a topic names for a publisher.

    Attributes:
        slot: The table.
        key: The record's key, ``b""`` for the table's root topic.
        id: The key as a value, ``None`` for the root.
        table: ``"<database>.<table>"``.
        kind: ``direct``: a message goes straight to delivery. ``logged``: messages of
            QoS 1 and 2 go through the log and come from the tail. ``hooked``: user code
            decides first.
        is_opaque: Whether the table keeps payloads as bytes (open topics) and not as
            records.
    """

    slot: int
    key: bytes
    id: object
    table: str
    kind: DestinationKind = "direct"
    is_opaque: bool = False


class View(Protocol):
    """What of a message a class of principals sees.

    Hashable; equal views see the same, and share what is made for them.
    """

    def apply(self, message: Message) -> Message | None:
        """Return the message as it may be seen, ``None`` when it may not."""


class _Everything:
    """The view of those who may see all of a message."""

    __slots__ = ()

    def apply(self, message: Message) -> Message | None:
        return message

    def __repr__(self) -> str:
        return "ALL"


ALL: Final[View] = _Everything()
"""Sees everything. Compared by identity: only this view is ever forwarded unparsed."""


class Admission(Protocol):
    """Decides who may publish and read, by topic."""

    def publish(self, principal: Principal, protocol: str, topic: bytes) -> Destination:
        """Admit messages to a topic.

        Raises:
            InvalidTopic: The topic cannot be one.
            UnknownTopic: No table has it.
            NotAuthorised: The principal may not publish there.
        """

    def read(self, principal: Principal, protocol: str, topic: bytes) -> View | None:
        """Return what a subscriber sees of a topic, ``None`` for nothing."""


class Topics(Protocol):
    """Knows the topics of a record."""

    def of(self, slot: int, key: bytes) -> tuple[bytes, ...]:
        """Return all topics of a record; ``()`` when nobody can subscribe to it.

        Args:
            slot: The table; an unknown one has no topics.
            key: The full key (not its short form), ``b""`` for the root topic.
        """
