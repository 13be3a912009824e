"""One message, as every encoding gets it: decoded once, encoded once per format.

A message is made from bytes that a publisher sent, from a log entry or from a stored
record. Nothing is decoded until a reader needs it: most messages leave as the bytes
that came.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, cast

from lyredb.delivery.position import format_position
from lyredb.errors import InvalidBody, LyreError
from lyredb.formats import JSON, format_for_content_type, guess_json
from lyredb.plugins.delivery import EventKind, Format
from lyredb.storage.entry import QOS_SHIFT, RETAIN, Entry
from lyredb.storage.keys import KeyValue, decode_key
from lyredb.storage.layout import TOPIC_SLOT
from lyredb.storage.message_entry import decode_message
from lyredb.storage.metadata import content_type_of, properties_of
from lyredb.storage.mutation import MESSAGE, DeleteReason, Kind
from lyredb.storage.record import decode_header

if TYPE_CHECKING:
    from lyredb.delivery.admission import Destination

_REASONS: Final = {DeleteReason.EXPIRED: "expired", DeleteReason.EVICTED: "evicted"}
"""What is told of a deletion that nobody asked for."""
VERSIONS_PER_MS: Final = 4096
"""Stored versions count this many steps per millisecond."""


class RecordTable(Protocol):
    """What a message needs of its table; `lyredb.tables.stored.StoredTable` is one."""

    @property
    def name(self) -> str:
        """``"<database>.<table>"``."""

    @property
    def slot(self) -> int:
        """The table's slot."""

    def decode(self, key: KeyValue, stored: bytes) -> dict[str, object]:
        """Return the whole record with its key and its times."""


class _Undecoded:
    __slots__ = ()


_UNDECODED: Final = _Undecoded()


class Message:
    """See `lyredb.plugins.delivery.Message`, which this implements.

    Attributes:
        reason: Of a delete that nobody asked for: ``expired`` or ``evicted``, else ``""``.
        envelopes: Encoded envelopes by format name; `lyredb.delivery.envelope` makes
            them, and the dict with the first.
    """

    __slots__ = (
        "_data",
        "_is_opaque",
        "_payloads",
        "_table",
        "_value",
        "content_type",
        "current",
        "envelopes",
        "expires_ms",
        "id",
        "kind",
        "local_ms",
        "position",
        "properties",
        "qos",
        "reason",
        "retain",
        "seq",
        "session",
        "table",
        "topic",
        "version",
    )

    def __init__(
        self,
        topic: bytes,
        kind: EventKind,
        table: str,
        id: object,  # the name that the seam has
        data: bytes,
        *,
        record_table: RecordTable | None,
        is_opaque: bool,
        version: float,
        local_ms: int,
        seq: int,
        qos: int,
        retain: bool,
        current: bool,
        position: str,
        content_type: str,
        properties: bytes,
        expires_ms: int,
        session: int,
        reason: str = "",
    ) -> None:
        self.topic = topic
        self.kind: EventKind = kind
        self.table = table
        self.id = id
        self.version = version
        self.local_ms = local_ms
        self.seq = seq
        self.qos = qos
        self.retain = retain
        self.current = current
        self.position = position
        self.content_type = content_type
        self.properties = properties
        self.expires_ms = expires_ms
        self.session = session
        self.reason = reason
        self.envelopes: dict[str, bytes] | None = None
        self._data = data
        self._table = record_table
        self._is_opaque = is_opaque
        self._payloads: dict[str, bytes] | None = None
        self._value: object = _UNDECODED

    def __copy__(self) -> Message:
        """The same message, what is decoded or encoded of it included."""
        other = Message(
            self.topic,
            self.kind,
            self.table,
            self.id,
            self._data,
            record_table=self._table,
            is_opaque=self._is_opaque,
            version=self.version,
            local_ms=self.local_ms,
            seq=self.seq,
            qos=self.qos,
            retain=self.retain,
            current=self.current,
            position=self.position,
            content_type=self.content_type,
            properties=self.properties,
            expires_ms=self.expires_ms,
            session=self.session,
            reason=self.reason,
        )
        other.envelopes = self.envelopes
        other._payloads = self._payloads
        other._value = self._value
        return other

    @classmethod
    def direct(
        cls,
        topic: bytes,
        payload: bytes,
        destination: Destination,
        *,
        qos: int = 0,
        retain: bool = False,
        content_type: str = "",
        properties: bytes = b"",
        session: int = 0,
        expires_ms: int = 0,
        local_ms: int = 0,
    ) -> Message:
        """A message that goes straight to delivery and has no position.

        Args:
            topic: The wire topic.
            payload: As received.
            destination: What the topic names (`Path.destination`).
            qos: The publisher's, 0 to 2.
            retain: The flag as published.
            content_type: ``""`` when nothing was said.
            properties: See `lyredb.plugins.delivery.Message`.
            session: The publisher's session number, 0 for none.
            expires_ms: Epoch ms, 0 for never.
            local_ms: Epoch ms, 0 for now.
        """
        return cls(
            topic,
            "message",
            destination.table,
            destination.id,
            payload,
            record_table=None,
            is_opaque=destination.is_opaque,
            version=0.0,
            local_ms=local_ms or int(time.time() * 1000),
            seq=0,
            qos=qos,
            retain=retain,
            current=False,
            position="",
            content_type=content_type,
            properties=properties,
            expires_ms=expires_ms,
            session=session,
        )

    @classmethod
    def of_entry(
        cls,
        entry: Entry,
        table: RecordTable,
        topic: bytes,
        log_id: str,
        *,
        position: str = "",
        id: object = None,
    ) -> Message:
        """What a log entry tells: a put (patches too), a delete or a message.

        Args:
            entry: Of one of these kinds.
            table: The table of its slot.
            topic: One of the record's topics.
            log_id: Of the log, hexadecimal.
            position: The token, when it is not simply that of the entry (in a scan).
            id: The record's key when the caller has it decoded already.
        """
        data, metadata, record_table, is_opaque = _content(entry, table)
        return cls(
            topic,
            _event_kind(entry.kind),
            table.name,
            id if id is not None else _id_of(entry),
            data,
            record_table=record_table,
            is_opaque=is_opaque,
            version=entry.version / VERSIONS_PER_MS,
            local_ms=entry.local_ms,
            seq=entry.seq,
            qos=entry.qos,
            retain=entry.retain,
            current=False,
            position=position or format_position(log_id, entry.seq),
            content_type=content_type_of(metadata),
            properties=properties_of(metadata),
            expires_ms=entry.expires_ms,
            session=entry.session,
            reason=_REASONS.get(entry.delete_reason, ""),
        )

    @classmethod
    def of_stored(
        cls,
        seq: int,
        stored: bytes,
        table: RecordTable,
        topic: bytes,
        log_id: str,
        id: object,
    ) -> Message:
        """What the entry of a message tells, made from its bytes; as `of_entry`, but faster.

        Args:
            seq: Its position.
            stored: As the log has it.
            table: The table of its slot.
            topic: One of the record's topics.
            log_id: Of the log, hexadecimal.
            id: The record's key.
        """
        entry = decode_message(seq, stored)
        metadata = entry.metadata
        return cls(
            topic,
            "message",
            table.name,
            id,
            entry.payload,
            record_table=None,
            is_opaque=table.slot == TOPIC_SLOT,
            version=entry.version / VERSIONS_PER_MS,
            local_ms=entry.local_ms,
            seq=seq,
            qos=entry.flags >> QOS_SHIFT & 3,
            retain=bool(entry.flags & RETAIN),
            current=False,
            position=format_position(log_id, seq),
            content_type=content_type_of(metadata) if metadata else "",
            properties=properties_of(metadata) if metadata else b"",
            expires_ms=entry.expires_ms,
            session=entry.session,
        )

    @classmethod
    def of_record(
        cls,
        table: RecordTable,
        key: bytes,
        stored: bytes,
        topic: bytes,
        position: str,
    ) -> Message:
        """Current state: a record as it is stored now.

        Args:
            table: Its table.
            key: The record key, a short form too.
            stored: The record as stored.
            topic: One of its topics.
            position: What a subscriber that has seen it resumes after.
        """
        header = decode_header(stored)
        metadata = header.metadata_bytes if header.opaque else b""
        return cls(
            topic,
            "put",
            table.name,
            decode_key(header.full_id or key),
            stored[header.body_offset :] if header.opaque else stored,
            record_table=None if header.opaque else table,
            is_opaque=header.opaque,
            version=header.version / VERSIONS_PER_MS,
            local_ms=header.version // VERSIONS_PER_MS,
            seq=header.last_seq,
            qos=header.qos,
            retain=True,
            current=True,
            position=position,
            content_type=content_type_of(metadata),
            properties=properties_of(metadata),
            expires_ms=header.expires_ms,
            session=0,
        )

    @property
    def is_opaque(self) -> bool:
        """True when the payload is kept as received and not as a record.

        For what is no put: whether the table is one of such payloads (open topics).
        """
        return self._is_opaque

    @property
    def data(self) -> bytes:
        """What the message was made from; of a direct one the payload as received."""
        return self._data

    @property
    def size_bytes(self) -> int:
        """The size of what the message was made from."""
        return len(self._data)

    def value(self) -> object:
        """See the seam. Raises `InvalidRecord` when the stored record is damaged."""
        if self._value is _UNDECODED:
            self._value = self._decode()
        return self._value

    def _decode(self) -> object:
        if self.kind == "delete":
            return None
        if self._table is not None:
            return self._table.decode(cast("KeyValue", self.id), self._data)
        source = _format_of(self.content_type, self._data)
        if source is not None:
            try:
                return source.decode(self._data)
            except InvalidBody:
                # A publisher may send anything; what cannot be read is told as it is.
                pass
        return self._text()

    def attributes(self) -> dict[str, object] | None:
        """Return the top level of a record, or of a message that is an object.

        ``None`` for everything else: a delete, an opaque record, a payload that is no
        structured value or another one than an object.

        Raises:
            InvalidRecord: The stored record is damaged.
        """
        if self.kind == "delete":
            return None
        if self._table is not None:
            value = self.value()
        else:
            source = _format_of(self.content_type, self._data)
            if source is None:
                return None
            try:
                value = source.decode(self._data)
            except LyreError:
                return None  # a publisher may send anything
        return value if isinstance(value, dict) else None

    def _text(self) -> object:
        try:
            return self._data.decode()
        except UnicodeDecodeError:
            content_type = self.content_type or "application/octet-stream"
            return {"contentType": content_type, "data": self._data}

    def payload(self, wanted: Format) -> bytes:
        """See the seam; the same object at each call with a format of the same name."""
        if self._payloads is None:
            self._payloads = {}
        made = self._payloads.get(wanted.name)
        if made is None:
            made = self._payloads[wanted.name] = self._encode(wanted)
        return made

    def _encode(self, wanted: Format) -> bytes:
        if self.kind == "delete":
            return b""
        if self._table is not None:
            return wanted.encode(self.value())
        source = _format_of(self.content_type, self._data)
        if source is None or source.name == wanted.name:
            return self._data
        try:
            return wanted.encode(source.decode(self._data))
        except (LyreError, TypeError, OverflowError):
            # No value of its format, or one that the wanted format cannot hold.
            return self._data


def _format_of(content_type: str, payload: bytes) -> Format | None:
    """The structured format that a payload is in, as far as that is known."""
    if content_type:
        return format_for_content_type(content_type)
    return JSON if guess_json(payload) else None


def _event_kind(kind: Kind) -> EventKind:
    if kind is MESSAGE:
        return "message"
    return "delete" if kind is Kind.DELETE else "put"


def _id_of(entry: Entry) -> object:
    """The record's key as a value, ``None`` for the table's root topic."""
    return decode_key(entry.full_id or entry.key) if entry.key else None


def _content(entry: Entry, table: RecordTable) -> tuple[bytes, bytes, RecordTable | None, bool]:
    """Data, metadata, the table if the data is a record of it, and whether it is opaque."""
    if entry.kind is MESSAGE:
        return entry.payload, entry.metadata, None, table.slot == TOPIC_SLOT
    if entry.kind is Kind.DELETE:
        return b"", b"", None, table.slot == TOPIC_SLOT
    header = decode_header(entry.image)
    if not header.opaque:
        return entry.image, b"", table, False
    return entry.image[header.body_offset :], header.metadata_bytes, None, True
