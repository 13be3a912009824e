"""What a caller asks of the writer, and what it gets back.

All of it is MessagePack arrays between processes, and `Applied` in request rows on disk too.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec


class Kind(IntEnum):
    """What happened to a key; the kind of a mutation and of its log entry."""

    PUT = 1
    PATCH = 2
    DELETE = 3
    MESSAGE = 4
    INVALIDATE = 5
    SCHEMA = 6
    ACCESS = 7
    CHECK = 8
    """Only the precondition is checked; nothing is written or logged."""


# To name a member of an enumeration takes 90 ns in Python 3.11, a constant 7.
PUT: Final = Kind.PUT
MESSAGE: Final = Kind.MESSAGE


class DeleteReason(IntEnum):
    """Why a record went away."""

    NONE = 0
    USER = 1
    EXPIRED = 2
    EVICTED = 3
    MOVED = 4


class Precondition(msgspec.Struct, frozen=True, array_like=True):
    """What must hold for the record when its transaction is checked, in commit order.

    A record whose deadline has passed counts as absent. All but ``read_version`` are
    about the record as the earlier mutations of the same transaction have left it: a
    second creation of a key in one transaction finds the first. ``read_version`` is about
    the record before the transaction, wherever in it the mutation stands.

    Attributes:
        any_of: The record exists with one of these versions (``If-Match``).
        none_of: The record is absent or has none of these versions.
        must_exist: Else `PreconditionFailed`.
        must_be_absent: Else `RecordExists`.
        unmodified_since_ms: The record is absent or was last written at or before this
            time. HTTP dates have whole seconds: add 999 to allow for the cut.
        read_version: The version that the record had when it was read, 0 when there was
            none; else `WriteConflict`.
    """

    any_of: frozenset[int] | None = None
    none_of: frozenset[int] | None = None
    must_exist: bool = False
    must_be_absent: bool = False
    unmodified_since_ms: int | None = None
    read_version: int | None = None


class Mutation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One change of one key.

    Attributes:
        slot: The table.
        key: `keys.encode_key` of the id; for SCHEMA and ACCESS any name of at most
            480 bytes.
        kind: What to do. PUT replaces; PATCH merges at the top level and makes the
            record when there is none; DELETE of a missing record does nothing.
        body: PUT: a MessagePack map without key and header attributes, or the payload
            when ``opaque``. PATCH: the attributes to set, nil being an explicit null.
            MESSAGE: the payload. SCHEMA: the new meta row, empty to delete it.
            ACCESS: what the entry carries.
        operations: PATCH: a MessagePack map of attribute to number to add. An absent
            or null attribute counts as 0, another type is `InvalidRecord`.
        metadata: A MessagePack map (content type, publish properties), or empty. For a
            PATCH, empty keeps what the record has.
        opaque: The body is a payload to be kept byte for byte.
        precondition: What must hold, else nothing of the transaction is done.
        full_id: `keys.encode_full_key` of the id when ``key`` is its short form.
        expires_ms: Deadline in ms since 1970, 0 for that of the table's rules; see
            `deadline.deadline_ms`.
        retain: Flag of the entry: the write came as a retained message.
        qos: Flag of the entry, 0 to 2.
        user: Name for audit, in the entry.
        session: Origin session for no-local, in the entry.
        reason: Why, for DELETE and INVALIDATE. With EXPIRED or EVICTED a record whose
            deadline has not passed at the commit stays.
        may_change: PUT: the only attributes that it sets or takes away in a record that is
            there, if one is; all others stay as they are, whatever the body says of them,
            undeclared ones too. ``None``: all. Over an opaque record it is refused.
        blobs: Ids of the files that were written for this; what of them the record does not
            refer to in the end has no owner.
        more: MESSAGE, in a transaction of messages alone: payloads of messages that follow
            and are like this one in all else. Each has an entry of its own.
    """

    slot: int
    key: bytes
    kind: Kind
    body: bytes = b""
    operations: bytes = b""
    metadata: bytes = b""
    opaque: bool = False
    precondition: Precondition | None = None
    full_id: bytes = b""
    expires_ms: int = 0
    retain: bool = False
    qos: int = 0
    user: str = ""
    session: int = 0
    reason: DeleteReason = DeleteReason.USER
    may_change: tuple[str, ...] | None = None
    blobs: tuple[bytes, ...] = ()
    more: tuple[bytes, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What counts for the limits on transactions and outstanding work."""
        size = len(self.body) + len(self.operations) + len(self.metadata) + len(self.key)
        return size + sum(map(len, self.more))


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one mutation did.

    Attributes:
        seq: Position of its log entry, 0 when nothing changed (a missing record was
            deleted).
        version: The record's version now, 0 when there is no entry or none is kept. Of a
            CHECK: the one that was found.
        existed: A live record was there before.
    """

    seq: int
    version: int
    existed: bool


class Applied(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A committed transaction: the position after it, and one outcome per mutation.

    One of messages alone has no outcomes: each has an entry, at the positions up to this one.
    """

    position: int
    outcomes: tuple[Outcome, ...]
