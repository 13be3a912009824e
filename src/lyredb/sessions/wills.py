"""A will as it is kept where nobody of MQTT is: ready for the writer, and its row on disk.

The row is beside the claim of its client's identifier for as long as the will may still
have to be published. It goes away in the transaction that publishes the will, so that a
crash of whichever process leaves exactly one of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from lyredb.errors import FormatMismatch
from lyredb.storage.mutation import Mutation
from lyredb.storage.snapshot import Snapshot

WILL_FORMAT: Final = 1
_PREFIX: Final = b"\x00will/"
"""No session has such a name: client identifiers have no NUL (MQTT 5 §1.5.4)."""
_STOP: Final = b"\x00will0"


class Will(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is written when nobody is left to publish it.

    Attributes:
        mutation: Ready for the writer, but for its deadline: a MESSAGE, PUT or DELETE.
        lifetime_ms: From the publication to its deadline, 0 for none.
        delay_ms: From the end of the connection to the publication, 0 for at once: the
            Will Delay Interval, or the time that the session has left when that is less.
        role: Of a user that is not stored here, as others said when it logged in; ``""`` for
            one that is, whose role is looked up.
    """

    mutation: Mutation
    lifetime_ms: int = 0
    delay_ms: int = 0
    role: str = ""

    def at(self, now_ms: int) -> Mutation:
        """The mutation when it is published at this time."""
        if not self.lifetime_ms:
            return self.mutation
        return msgspec.structs.replace(self.mutation, expires_ms=now_ms + self.lifetime_ms)


class KeptWill(msgspec.Struct, frozen=True, array_like=True):
    """A will of a connection that is there, or was.

    Attributes:
        client_id: The connection's.
        epoch: Of its claim: tells it from all others, and names the row.
        user: Whose connection it is.
        will: What is published.
        due_ms: When, in epoch milliseconds; 0 while the connection is there.
    """

    client_id: str
    epoch: int
    user: str
    will: Will
    due_ms: int = 0


_decoder: Final = msgspec.msgpack.Decoder(KeptWill)


def row_name(epoch: int) -> bytes:
    """The name of the row of ``sess`` that keeps the will of a claim."""
    return _PREFIX + epoch.to_bytes(8, "big")


def encode_will(kept: KeptWill) -> bytes:
    """Return the row."""
    return bytes((WILL_FORMAT,)) + msgspec.msgpack.encode(kept)


def decode_will(row: bytes) -> KeptWill:
    """Return the will of a row.

    Raises:
        FormatMismatch: An unknown format or a damaged row.
    """
    if not row or row[0] != WILL_FORMAT:
        raise FormatMismatch("the row of a will has a format that this version cannot read")
    try:
        return _decoder.decode(memoryview(row)[1:])
    except msgspec.DecodeError as error:
        raise FormatMismatch("the row of a will is damaged") from error


def kept_wills(snapshot: Snapshot) -> Iterator[KeptWill]:
    """Yield the wills on disk, in the order in which their connections began.

    Raises:
        FormatMismatch: As `decode_will`.
    """
    for _, row in snapshot.session_rows(_PREFIX, _STOP):
        yield decode_will(row)
