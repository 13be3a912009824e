"""Rows of ``sess``: how far a session has come. Not logged, committed with its messages.

A session has one row of progress, and one small row for each packet identifier of an
inbound QoS 2 message that is newer than that. A row is a format byte and a MessagePack
array; see ``docs/design/0001-stored-formats.md`` and the record that supersedes its part on
sessions. While a connection has it, there is a fence beside: 8 bytes, the epoch of its owner.
The session of a shared group has receipts beside: what members took since its progress was
written, with that epoch, too.

What is committed may begin with a condition, which is compared and not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Final, TypeVar

import msgspec

from lyredb.errors import FormatMismatch

SESSION_FORMAT: Final = 2
GIVEN: Final = -1
"""In the place of a slot, which is not negative."""
REPLAY: Final = -2
"""Likewise: the start is a place in a part of the log that is told again."""
_PREFIX: Final = b"s"
_INBOUND: Final = b"i"
_FENCE: Final = b"o"
_RECEIPT: Final = b"r"
CONDITION: Final = b"="
"""Begins the name of a condition; the rest is the name of the row that has to have its value."""
# Other rows of ``sess`` have names that begin with NUL.

T = TypeVar("T")


class Start(msgspec.Struct, frozen=True, array_like=True):
    """Where one filter of a session goes on, when that is not simply the session's position.

    Attributes:
        filter: As the client sent it.
        seq: Its changes after this position are wanted.
        slot: Of the table whose current state was being told, `REPLAY` where a replay was,
            ``None`` for neither.
        key: The last one that was told.
    """

    filter: str
    seq: int
    slot: int | None = None
    key: bytes = b""

    @property
    def is_scan(self) -> bool:
        """It is a place in current state."""
        return self.slot is not None and self.slot != REPLAY


class InFlight(msgspec.Struct, array_like=True):
    """An outbound message without its last acknowledgement.

    Attributes:
        packet_id: 1 to 65,535.
        seq: Its log entry; of current state the record's last one; 0 for a message that
            is in no log.
        qos: That it was sent with, 1 or 2.
        released: PUBREC has come, PUBREL is due (QoS 2).
        slot: Of the record, for current state only; `GIVEN` for what a shared group has given.
        key: Of the record, for current state only; else empty.
    """

    packet_id: int
    seq: int
    qos: int = 1
    released: bool = False
    slot: int = 0
    key: bytes = b""

    @property
    def is_given(self) -> bool:
        """A shared group has given it, and not a subscription of the session's own."""
        return self.slot == GIVEN

    @property
    def is_current(self) -> bool:
        """It was sent as current state, with RETAIN set."""
        return bool(self.key)


class SessionProgress(msgspec.Struct, frozen=True, array_like=True):
    """Progress of one session.

    Attributes:
        epoch: Of the owner that wrote it; rows of inbound identifiers with another one
            are void.
        log: The first 8 bytes of the log's identity; positions in another are worth nothing.
        position: Everything up to here is acknowledged, in flight, or not for this session.
        acknowledged: Positions beyond it that are acknowledged, ascending.
        starts: Of filters that do not go on at the position.
        in_flight: In the order of sending.
        inbound: Packet ids of inbound QoS 2 messages without PUBREL, as of this row.
    """

    epoch: int
    log: bytes
    position: int
    acknowledged: tuple[int, ...] = ()
    starts: tuple[Start, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    inbound: tuple[int, ...] = ()


class InboundMark(msgspec.Struct, frozen=True, array_like=True):
    """What became of an inbound packet identifier since the row of progress was written.

    Attributes:
        epoch: Of the owner that wrote it.
        is_received: False: it was released, whatever the row of progress says.
    """

    epoch: int
    is_received: bool


_progress: Final = msgspec.msgpack.Decoder(SessionProgress)
_mark: Final = msgspec.msgpack.Decoder(InboundMark)
_encode: Final = msgspec.msgpack.Encoder().encode
_FORMAT: Final = bytes((SESSION_FORMAT,))


def progress_name(number: int) -> bytes:
    """The name of the row of progress of a session, by its number."""
    return _PREFIX + number.to_bytes(8, "big")


def inbound_name(number: int, packet_id: int) -> bytes:
    """The name of the row of one inbound packet identifier."""
    return progress_name(number) + _INBOUND + packet_id.to_bytes(2, "big")


def fence_of(number: int, epoch: int) -> tuple[bytes, bytes]:
    """The row that says which owner has a session."""
    return fence_name(number), fence_value(epoch)


def fence_name(number: int) -> bytes:
    """The name of that row."""
    return progress_name(number) + _FENCE


def fence_value(epoch: int) -> bytes:
    """What that row says of an owner."""
    return epoch.to_bytes(8, "big")


def receipt_name(number: int, seq: int, turn: int) -> bytes:
    """The name of the row of what a member of a group has taken.

    Args:
        number: Of the session of the group.
        seq: The message's entry in the log.
        turn: Which giving of it, below 2^32.
    """
    entry = seq.to_bytes(8, "big") + turn.to_bytes(4, "big")
    return progress_name(number) + _RECEIPT + entry


def receipt_names(number: int) -> tuple[bytes, bytes]:
    """Where the receipts of a group's session begin, and what is behind them."""
    first = progress_name(number) + _RECEIPT
    return first, first + b"\xff" * 13


def receipt_seq(name: bytes) -> int:
    """The entry of the log in the name of a receipt."""
    return int.from_bytes(name[-12:-4], "big")


def owner_condition(number: int, epoch: int) -> tuple[bytes, bytes]:
    """The condition that a session has this owner."""
    name, value = fence_of(number, epoch)
    return CONDITION + name, value


def packet_id_of(name: bytes) -> int:
    """The packet identifier in the name of a row of one."""
    return int.from_bytes(name[-2:], "big")


def inbound_names(number: int) -> tuple[bytes, bytes]:
    """Where the rows of a session's inbound identifiers begin, and what is behind them."""
    first = progress_name(number) + _INBOUND
    return first, first + b"\xff\xff\xff"


def encode_progress(progress: SessionProgress) -> bytes:
    """Return the row; positions beyond the first are kept as what they are more."""
    steps = tuple(_steps(progress.position, progress.acknowledged))
    return _FORMAT + _encode(msgspec.structs.replace(progress, acknowledged=steps))


def decode_progress(row: bytes) -> SessionProgress:
    """Return the progress of a row.

    Raises:
        FormatMismatch: An unknown format or a damaged row.
    """
    progress = _decode(_progress, row)
    sums = accumulate(progress.acknowledged, initial=progress.position)
    return msgspec.structs.replace(progress, acknowledged=tuple(sums)[1:])


def encode_mark(mark: InboundMark) -> bytes:
    """Return the row of an inbound packet identifier."""
    return _FORMAT + _encode(mark)


def decode_mark(row: bytes) -> InboundMark:
    """Return what a row of an inbound packet identifier says.

    Raises:
        FormatMismatch: An unknown format or a damaged row.
    """
    return _decode(_mark, row)


def _decode(decoder: msgspec.msgpack.Decoder[T], row: bytes) -> T:
    if not row or row[0] != SESSION_FORMAT:
        raise FormatMismatch("a session's row has a format that this version cannot read")
    try:
        return decoder.decode(memoryview(row)[1:])
    except msgspec.DecodeError as error:
        raise FormatMismatch("a session's row is damaged") from error


def _steps(first: int, ascending: Iterable[int]) -> Iterator[int]:
    return (after - before for before, after in pairwise((first, *ascending)))
