"""Messages of a group on their way to a member on another worker, and there again.

The worker that owns the group has applied its rights: what a message leaves out does not
go along. A record travels as its value, since each member may want another format of it.
"""

from __future__ import annotations

from typing import Final, cast

from lyredb.delivery.message import Message as Made
from lyredb.formats import MSGPACK
from lyredb.plugins.delivery import EventKind, Message
from lyredb.sessions.groups_wire import Given
from lyredb.sessions.receipts import Receipt
from lyredb.storage.keys import KeyValue


class _Values:
    """Reads values that travelled (a `lyredb.delivery.message.RecordTable`)."""

    name = ""
    slot = -1

    def decode(self, key: KeyValue, stored: bytes) -> dict[str, object]:
        """Return the value as the owner of the group had it."""
        return cast("dict[str, object]", MSGPACK.decode(stored))


_VALUES: Final = _Values()


def packed(message: Message, number: int, receipt: Receipt | None = None) -> Given:
    """A message as it travels."""
    as_received = message.data if type(message) is Made else b""
    is_value = message.kind == "put" and not message.is_opaque
    if message.kind != "delete" and type(message) is not Made:
        is_value = True  # a part of the attributes; its bytes hold all of them
    data = MSGPACK.encode(message.value()) if is_value else as_received
    return Given(
        number,
        message.topic,
        message.kind,
        message.table,
        data,
        is_value,
        message.is_opaque,
        message.local_ms,
        message.seq,
        message.qos,
        message.content_type,
        message.properties,
        message.expires_ms,
        message.session,
        getattr(message, "reason", ""),
        0 if receipt is None else receipt.number,
        0 if receipt is None else receipt.turn,
    )


def receipt_of(given: Given, epoch: int) -> Receipt | None:
    """The receipt that a message came with, from the owner with this epoch."""
    return Receipt(given.group, epoch, given.seq, given.turn) if given.group else None


def unpacked(given: Given) -> Message:
    """The message again, for whoever encodes it for a member."""
    return Made(
        given.topic,
        cast("EventKind", given.kind),
        given.table,
        None,
        given.data,
        record_table=_VALUES if given.is_value else None,
        is_opaque=given.is_opaque,
        version=0.0,
        local_ms=given.local_ms,
        seq=given.seq,
        qos=given.qos,
        retain=False,
        current=False,
        position="",
        content_type=given.content_type,
        properties=given.properties,
        expires_ms=given.expires_ms,
        session=given.session,
        reason=given.reason,
    )
