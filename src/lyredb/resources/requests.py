"""What protocols ask of resources, and what they get back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from lyredb.plugins.delivery import Encoding, Message
from lyredb.resources.held import Gap
from lyredb.resources.target import Target
from lyredb.storage.keys import KeyValue
from lyredb.storage.metadata import content_type_of
from lyredb.storage.mutation import Precondition
from lyredb.storage.record import RecordHeader, decode_header
from lyredb.tables.stored import StoredTable

WriteOperation = Literal["put", "patch", "delete", "create"]


class Write(msgspec.Struct, frozen=True, gc=False):
    """One change of one record.

    Attributes:
        target: A record; for ``create`` a table or collection.
        operation: ``put`` replaces, ``patch`` merges the top level (and creates),
            ``delete`` removes, ``create`` refuses an existing key and makes one when
            the value has none.
        value: The decoded record or changes; ``None`` when ``payload`` says it.
        payload: The bytes as received, for writes that come as bytes.
        content_type: Of the payload, ``""`` when nothing was said.
        properties: MQTT 5 PUBLISH properties to keep with an opaque record.
        precondition: Checked at commit, in the order of arrival.
        retain: The retain flag of the publish that this write is.
        qos: The quality of service of that publish. A write that is none counts as 1:
            the record lasts, so subscribers may have it acknowledged.
        expires_ms: Epoch ms after which the record is gone, 0 for never.
        blobs: Ids of the files that were written for blobs in the value.
    """

    target: Target
    operation: WriteOperation
    value: object = None
    payload: bytes = b""
    content_type: str = ""
    properties: bytes = b""
    precondition: Precondition | None = None
    retain: bool = False
    qos: int = 1
    expires_ms: int = 0
    blobs: tuple[bytes, ...] = ()


class Written(msgspec.Struct, frozen=True, gc=False):
    """A write that is on disk.

    Attributes:
        id: The record's key.
        version: As stored (milliseconds x 4096 + counter).
        position: Log position of its entry.
        existed: True when there was a record before.
        table: The table it went to.
    """

    id: KeyValue
    version: int
    position: int
    existed: bool
    table: StoredTable


class Reading:
    """One record as it was at the time of reading, decoded when asked.

    Args:
        table: Its table.
        record_id: Its key.
        stored: The record's bytes as stored.
        names: The attributes that may be seen, ``None`` for all; never of an opaque record.

    Attributes:
        id: The record's key.
        stored: The record's bytes as stored, whatever may be seen of them.
    """

    __slots__ = ("_header", "_names", "_table", "id", "stored")

    def __init__(
        self,
        table: StoredTable,
        record_id: KeyValue,
        stored: bytes,
        names: frozenset[str] | None = None,
    ) -> None:
        self._table = table
        self._names = names
        self._header: RecordHeader | None = None
        self.id = record_id
        self.stored = stored

    @property
    def header(self) -> RecordHeader:
        """The record's header, decoded once."""
        if self._header is None:
            self._header = decode_header(self.stored)
        return self._header

    @property
    def version(self) -> int:
        """The version as stored."""
        return int.from_bytes(self.stored[:8], "big")

    @property
    def payload(self) -> bytes | None:
        """The bytes of an opaque record, as they were received; else ``None``."""
        if not self.header.opaque:
            return None
        return self.stored[self.header.body_offset :]

    @property
    def content_type(self) -> str:
        """The content type of an opaque record, ``""`` when none was said."""
        return content_type_of(self.header.metadata_bytes)

    def value(self) -> dict[str, object]:
        """The whole record as a mapping, key and server-set times included."""
        record = self._table.decode(self.id, self.stored, self.header)
        names = self._names
        if names is None:
            return record
        return {name: value for name, value in record.items() if name in names}

    def select(self, names: tuple[str, ...]) -> dict[str, object]:
        """Only these attributes; what is absent or may not be seen is left out."""
        if self._names is not None:
            names = tuple(name for name in names if name in self._names)
        return self._table.decode_only(self.id, self.stored, names)


@dataclass(frozen=True, slots=True)
class SubscribeOptions:
    """How a subscription wants to be served.

    Attributes:
        encoding: How messages look on the subscriber's wire.
        qos: The highest quality of service to send with, 0 or 1.
        ids: Subscription identifiers to send with each message.
        retain_as_published: Keep the publisher's RETAIN flag on changes.
        no_local: Leave out what the same session published.
        omit_current: Send changes only.
        start_ms: Instead of current state, what was committed after this time (epoch
            milliseconds), then what comes. Current state after all, and ``on_reset``,
            when the log does not reach back so far.
        previous_count: Instead of current state, the last changes and messages, at most
            so many, 1 to `lyredb.resources.replay.MAX_COUNT`; 0 for not. Together with
            ``start_ms`` for one record only: the last ones after that time.
        on_messages: Gets what was read, current state or a part of the log, and direct
            messages that were held meanwhile, instead of the subscriber's ``write_messages``;
            for encodings that take messages.
        on_ready: Called with the position token when current state (or the missed
            part of the log) has been sent and everything later follows.
        on_reset: Called with a sentence when the position to resume after is not
            in the log any more; current state follows.
        on_gap: Called when direct messages were not sent since the subscriber did not
            keep up. Without it none are dropped: the subscriber's own limit decides.
        on_error: Called when the subscription ends because it may not go on.
    """

    encoding: Encoding
    qos: int = 0
    ids: tuple[int, ...] = ()
    retain_as_published: bool = False
    no_local: bool = False
    omit_current: bool = False
    start_ms: int | None = None
    previous_count: int = 0
    on_messages: Callable[[Sequence[Message]], None] | None = None
    on_ready: Callable[[str], None] | None = None
    on_reset: Callable[[str], None] | None = None
    on_gap: Callable[[Gap], None] | None = None
    on_error: Callable[[Exception], None] | None = None
