"""Rows of ``sess``: how far a session has come. Not logged, committed with its messages.

A row is a format byte and a MessagePack array; see
``docs/design/0001-stored-formats.md``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lyredb.errors import FormatMismatch

SESSION_FORMAT: Final = 1


class ScanProgress(msgspec.Struct, frozen=True, array_like=True):
    """The frontier of a scan that is not done: slot, key, position."""

    slot: int
    key: bytes
    position: int


class InFlight(msgspec.Struct, frozen=True, array_like=True):
    """An outbound message without its last acknowledgement.

    Attributes:
        packet_id: 1 to 65,535.
        seq: Its log entry.
        released: PUBREC has come, PUBREL is due (QoS 2).
    """

    packet_id: int
    seq: int
    released: bool = False


class SessionProgress(msgspec.Struct, frozen=True, array_like=True):
    """Progress of one session.

    Attributes:
        epoch: Counts the owners; a former owner's rows are older.
        position: All entries up to here are acknowledged.
        acknowledged: Positions beyond it that are too, ascending.
        scan: The frontier of a running scan.
        in_flight: In the order of sending.
        inbound: Packet ids of inbound QoS 2 messages without PUBREL.
    """

    epoch: int
    position: int
    acknowledged: tuple[int, ...] = ()
    scan: ScanProgress | None = None
    in_flight: tuple[InFlight, ...] = ()
    inbound: tuple[int, ...] = ()


_decoder: Final = msgspec.msgpack.Decoder(SessionProgress)


def encode_session(progress: SessionProgress) -> bytes:
    """Return the row."""
    return bytes((SESSION_FORMAT,)) + msgspec.msgpack.encode(progress)


def decode_session(row: bytes) -> SessionProgress:
    """Return the progress of a row.

    Raises:
        FormatMismatch: An unknown format or a damaged row.
    """
    if not row or row[0] != SESSION_FORMAT:
        raise FormatMismatch("a session's row has a format that this version cannot read")
    try:
        return _decoder.decode(memoryview(row)[1:])
    except msgspec.DecodeError as error:
        raise FormatMismatch("a session's row is damaged") from error
