"""What workers and the directory of groups, and workers of a group, tell each other.

MessagePack arrays; all ends are of one installation, so there is no version in it.
"""

from __future__ import annotations

from typing import Final

import msgspec

JOIN: Final = "groups/join"
"""A notice to the directory: `Join`."""
LEAVE: Final = "groups/leave"
"""A notice to the directory: `Named`."""
OWNER: Final = "groups/owner"
"""A notice to a worker: `Owner`."""
MEMBERS: Final = "groups/members"
"""A note to the owner: `Members`; answered by `READY`."""
READY: Final = "groups/ready"
"""A note to a worker: `Named`: the owner gets the messages of the group."""
GONE: Final = "groups/gone"
"""A call to the directory: `Worker`; answered when nothing is written any more for it."""
GIVE: Final = "groups/give"
"""A note to a worker: a list of `Give`."""
DONE: Final = "groups/done"
"""A note to the owner: a list of `Done`."""
ENDED: Final = "groups/ended"
"""A note to a worker: `Named`: the rights to it are gone."""


class Join(msgspec.Struct, frozen=True, array_like=True):
    """A worker has members; it knows an owner when it says so again."""

    name: str
    owner: int | None = None


class Named(msgspec.Struct, frozen=True, array_like=True):
    """A group."""

    name: str


class Worker(msgspec.Struct, frozen=True, array_like=True):
    """A worker that was lost."""

    number: int


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Which worker owns a group; the epoch grows with each owner that is appointed."""

    name: str
    owner: int
    epoch: int


class Members(msgspec.Struct, frozen=True, array_like=True):
    """What members a worker has.

    Attributes:
        name: Of the group.
        count: How many.
        coming: How many are about to be some.
        is_durable: The group has a session.
        change: How many durable memberships have begun here, or ended, since this was told.
    """

    name: str
    count: int
    coming: int
    is_durable: bool = False
    change: int = 0


class Given(msgspec.Struct, frozen=True, array_like=True):
    """A message on its way to a member, with a number by which its end is told.

    Attributes:
        number: The owner's.
        topic: As in `lyredb.plugins.delivery.Message`, and so on.
        data: The payload as received, or the value in MessagePack.
        is_value: It is the latter.
        group: The number of the group's session, 0 where no receipt is due.
        turn: Of the receipt.
    """

    number: int
    topic: bytes
    kind: str
    table: str
    data: bytes
    is_value: bool
    is_opaque: bool
    local_ms: int
    seq: int
    qos: int
    content_type: str
    properties: bytes
    expires_ms: int
    session: int
    reason: str
    group: int = 0
    turn: int = 0


class Give(msgspec.Struct, frozen=True, array_like=True):
    """Messages for the members of a group, in order; from the owner with this epoch."""

    name: str
    epoch: int
    messages: list[Given]


class Done(msgspec.Struct, frozen=True, array_like=True):
    """Numbers of messages that are at their end, and of those that nobody here takes.

    For the owner with this epoch: the numbers of another one are other messages.
    """

    name: str
    epoch: int
    settled: list[int]
    returned: list[int]


encode: Final = msgspec.msgpack.Encoder().encode
joins: Final = msgspec.msgpack.Decoder(Join)
named: Final = msgspec.msgpack.Decoder(Named)
owners: Final = msgspec.msgpack.Decoder(Owner)
workers: Final = msgspec.msgpack.Decoder(Worker)
members: Final = msgspec.msgpack.Decoder(Members)
gives: Final = msgspec.msgpack.Decoder(Give)
dones: Final = msgspec.msgpack.Decoder(Done)
