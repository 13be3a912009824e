"""A table as it is stored: records to bytes and back, by its schema and its layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from lyredb.storage.blob import StoredBlob
from lyredb.storage.body import load_bodies, load_body, pack_body
from lyredb.storage.keys import (
    ABSENT,
    SHORT_FORM_BYTES,
    TAG_STRING,
    KeyValue,
    decode_key,
    is_short_form,
    record_key,
)
from lyredb.storage.layout import TOPIC_SLOT, TableLayout
from lyredb.storage.metadata import content_type_of
from lyredb.storage.record import OPAQUE, bodies_of, decode_header
from lyredb.tables.blob_values import shown
from lyredb.tables.computing import ComputedAttribute, computed_attributes
from lyredb.tables.keys import KeyRules, key_text
from lyredb.tables.partial import partial_decoder
from lyredb.tables.schema import TableSchema
from lyredb.tables.times import SERVER_TIMES, ServerTime
from lyredb.tables.validation import RecordRules

if TYPE_CHECKING:
    from lyredb.storage.record import RecordHeader

MS_SHIFT: Final = 12
"""A version is milliseconds × 4096 + a counter."""
CONTENT_TYPE: Final = "contentType"
DATA: Final = "data"
_KEPT_IN_PATHS: Final = "/:@!$&'()*+,;=~-._"


class StoredTable:
    """One table; immutable, shared by everybody who works with it.

    Attributes:
        name: ``<database>.<table>``.
        slot: Its number in the store.
        schema: What it was declared as.
        layout: What the store knows of it.
        is_open_topics: It is ``data.Topic``, which keeps every payload as received and
            whose keys are whole topics.
        blob_names: The attributes that are blobs, whose content may be in files.
    """

    __slots__ = (
        "_computed",
        "_created",
        "_enumerable",
        "_is_more_than_body",
        "_key_name",
        "_keys",
        "_rules",
        "_times",
        "_updated",
        "blob_names",
        "is_open_topics",
        "layout",
        "name",
        "schema",
        "slot",
    )

    def __init__(self, schema: TableSchema, layout: TableLayout) -> None:
        self.name = schema.full_name
        self.slot = layout.slot
        self.schema = schema
        self.layout = layout
        self.is_open_topics = layout.slot == TOPIC_SLOT
        self._key_name = schema.primary_key
        self._keys = KeyRules(
            schema.key_type, open_topics=self.is_open_topics, split=schema.split_segments
        )
        self._rules = RecordRules(schema)
        self._computed = computed_attributes(schema)
        self._enumerable = tuple(
            self._computed[one.name]
            for one in schema.attributes
            if one.enumerable and one.name in self._computed
        )
        self.blob_names = tuple(
            one.name
            for one in schema.attributes
            if one.type.name == "Blob" and one.type.element is None and one.is_stored
        )
        self._created = _server_time(schema, "created")
        self._updated = _server_time(schema, "updated")
        self._is_more_than_body = bool(
            self._created or self._updated or self._enumerable or self.blob_names
        )
        self._times = {
            time[0]: role
            for time, role in ((self._created, "created"), (self._updated, "updated"))
            if time
        }

    def __repr__(self) -> str:
        return f"StoredTable({self.name}, slot={self.slot})"

    def stands_in_body(self, name: str) -> bool:
        """Tell whether an attribute is read from a record's body as it is."""
        return not (self._is_outside(name) or name in self._computed or name in self.blob_names)

    def check_key(self, value: object) -> KeyValue:
        """Return a value as the key that it is in this table.

        Raises:
            InvalidKey: The table cannot have it.
        """
        return self._keys.check(value)

    def key_from_text(self, text: str) -> KeyValue:
        """Return the key that the rest of a path or topic names.

        Raises:
            InvalidKey: No key can have this text.
            RecordNotFound: The table has integer keys, and the text is not one in its
                canonical decimal form.
        """
        return self._keys.from_text(text)

    def locate(self, text: str) -> tuple[KeyValue, bytes]:
        """Return the key that the rest of a path or topic names, and its stored form.

        Raises:
            InvalidKey, RecordNotFound: As `key_from_text`.
        """
        key = self._keys.from_text(text)
        return key, self._keys.encode_checked(key)

    def key_to_text(self, key: KeyValue) -> str:
        """Return a key as it stands in paths and topics."""
        return key_text(key)

    def encode_key(self, value: object) -> bytes:
        """Return the stored form of a key, checked; at most 481 bytes.

        Raises:
            InvalidKey: The table cannot have it.
        """
        return self._keys.encode(value)

    def decode_key(self, key: bytes, header: RecordHeader) -> KeyValue:
        """Return the key of a stored record or grave."""
        return record_key(key, header)

    def key_of(self, key: bytes, stored: bytes) -> KeyValue:
        """Return the key of a stored record or grave, given its stored key."""
        if is_short_form(key):
            return record_key(key, decode_header(stored))
        return decode_key(key)

    def keys_of(self, rows: Iterable[tuple[bytes, bytes]]) -> list[object]:
        """Return the keys of stored records as they stand in records: a tuple as a list."""
        return [
            key[1:].decode()
            if key[0] == TAG_STRING and 0 not in key and len(key) < SHORT_FORM_BYTES
            else _plain(self.key_of(key, stored))
            for key, stored in rows
        ]

    @property
    def generates_integers(self) -> bool:
        """Records without a key get the next integer, not a UUID."""
        return self._keys.generates_integers

    def generate_key(self, next_integer: Callable[[], int]) -> KeyValue:
        """Return a new key: a random UUID, or the next integer where keys may be one.

        Args:
            next_integer: Called at most once; gives numbers that no record has.
        """
        return self._keys.generate(next_integer)

    def encode(self, record: Mapping[str, object], key: KeyValue) -> bytes:
        """Return the body of a whole record, validated.

        Key and server-set times in ``record`` are left out: the key stands in ``key``,
        the times come from the writer.

        Raises:
            InvalidRecord: One sentence per violation.
        """
        return pack_body(self._rules.whole(record))

    def encode_changes(
        self, changes: Mapping[str, object], key: KeyValue | None = None
    ) -> tuple[bytes, bytes]:
        """Return body and operations of a patch (see `lyredb.storage.mutation.Mutation`).

        ``{"__op__": "add", "value": n}`` as the value of an attribute adds n to it.

        Raises:
            InvalidRecord: One sentence per violation.
        """
        body, amounts = self._rules.changes(changes)
        return pack_body(body), pack_body(amounts) if amounts else b""

    def decode(
        self, key: KeyValue, stored: bytes, header: RecordHeader | None = None
    ) -> dict[str, object]:
        """Return a record as everybody sees it: key first, server-set times last.

        Behind them come the computed attributes that are declared as enumerable. Relations
        are not part of it: they need other tables.

        An opaque record is its key, ``contentType`` and ``data``; the content type only
        when it is known, the data as text when it is UTF-8, else as bytes.

        Args:
            key: The record's key.
            stored: The record's bytes.
            header: Its header, when it was decoded before.

        Raises:
            InvalidRecord: The bytes are damaged.
        """
        if header is None:
            header = decode_header(stored)
        if header.flags & OPAQUE:
            return self._opaque(key, header, stored)
        record: dict[str, object] = {
            self._key_name: _plain(key),
            **load_body(stored[header.body_offset :]),
        }
        if self._created:
            name, form = self._created
            record[name] = form(header.created >> MS_SHIFT)
        if self._updated:
            name, form = self._updated
            record[name] = form(header.version >> MS_SHIFT)
        if self.blob_names:
            self._show_blobs(key, record)
        if self._enumerable:
            self._compute(record, self._enumerable)
        return record

    def decode_rows(self, rows: Sequence[tuple[bytes, bytes]]) -> list[dict[str, object]]:
        """Return records as `decode` does, given their stored keys and their bytes.

        Raises:
            InvalidRecord: The bytes of one are damaged.
        """
        bodies = None if self._is_more_than_body else bodies_of(rows)
        if bodies is None:
            return [self.decode(self.key_of(key, stored), stored) for key, stored in rows]
        name = self._key_name
        keys = self.keys_of(rows)
        return [{name: key, **body} for key, body in zip(keys, load_bodies(bodies), strict=True)]

    def decode_only(
        self, key: KeyValue, stored: bytes, names: tuple[str, ...]
    ) -> dict[str, object]:
        """Return these attributes of a record, in this order; absent ones are left out.

        Costs a fraction of `decode` for records with many attributes. Computed ones are
        worked out, from what their expressions read; relations are left out.

        Raises:
            InvalidRecord: The bytes are damaged.
        """
        if self._computed and not self._computed.keys().isdisjoint(names):
            return self._decode_computed(key, stored, names)
        header = decode_header(stored)
        if header.flags & OPAQUE:
            record = self._opaque(key, header, stored)
            return {name: record[name] for name in names if name in record}
        in_body = tuple(name for name in names if not self._is_outside(name))
        found = partial_decoder(in_body)(stored[header.body_offset :]) if in_body else {}
        if self.blob_names:
            self._show_blobs(key, found)
        if len(in_body) == len(names):
            return found
        for name in names:
            if name in in_body:
                if name in found:
                    found[name] = found.pop(name)  # keeps the order asked for
            else:
                found[name] = self._outside(name, key, header)
        return found

    def _decode_computed(
        self, key: KeyValue, stored: bytes, names: tuple[str, ...]
    ) -> dict[str, object]:
        """As `decode_only`, where computed attributes are among the names."""
        header = decode_header(stored)
        wanted = [self._computed[name] for name in names if name in self._computed]
        reads: set[str] = set()
        for one in wanted:
            reads.update(one.reads or ())
        if any(one.reads is None for one in wanted):
            record = self.decode(key, stored, header)  # a function may read everything
        else:
            reads.update(name for name in names if name not in self._computed)
            record = self.decode_only(key, stored, tuple(sorted(reads)))
        if not header.flags & OPAQUE:
            self._compute(record, wanted)
        return {name: record[name] for name in names if name in record}

    def _show_blobs(self, key: KeyValue, record: dict[str, object]) -> None:
        """Bring blobs that are neither text nor bytes into the form that everybody sees."""
        for name in self.blob_names:
            value = record.get(name)
            if type(value) is StoredBlob:
                record[name] = shown(value, self.href(key, name))

    def href(self, key: KeyValue, name: str) -> str:
        """Return the path of an attribute for HTTP, ``""`` when it has none."""
        export = self.schema.export
        if export is None or not export.rest:
            return ""
        return "/" + quote(f"{export.path}/{key_text(key)}.{name}", safe=_KEPT_IN_PATHS)

    def is_blob(self, name: str) -> bool:
        """Tell whether an attribute is a blob, whose content can be had by itself."""
        return name in self.blob_names

    def _compute(self, record: dict[str, object], computed: Iterable[ComputedAttribute]) -> None:
        """Add computed attributes to a record that has what they read."""
        values = [(one.name, one.evaluate(record)) for one in computed]
        record.update((name, value) for name, value in values if value is not ABSENT)

    def _opaque(self, key: KeyValue, header: RecordHeader, stored: bytes) -> dict[str, object]:
        record: dict[str, object] = {}
        content_type = content_type_of(header.metadata_bytes)
        if content_type:
            record[CONTENT_TYPE] = content_type
        payload = stored[header.body_offset :]
        try:
            record[DATA] = payload.decode()
        except UnicodeDecodeError:
            record[DATA] = payload
        # The key comes first, and wins where it is called like one of the others.
        return {self._key_name: None, **record, self._key_name: _plain(key)}

    def _is_outside(self, name: str) -> bool:
        return name == self._key_name or name in self._times

    def _outside(self, name: str, key: KeyValue, header: RecordHeader) -> object:
        """An attribute that does not stand in the body."""
        if name == self._key_name:
            return _plain(key)
        if self._created and name == self._created[0]:
            return self._created[1](header.created >> MS_SHIFT)
        assert self._updated is not None, "the name was found among the outside ones"
        return self._updated[1](header.version >> MS_SHIFT)


def _server_time(schema: TableSchema, role: str) -> tuple[str, ServerTime] | None:
    for attribute in schema.attributes:
        if attribute.role == role:
            return attribute.name, SERVER_TIMES[attribute.type.name]
    return None


def _plain(key: KeyValue) -> object:
    return list(key) if isinstance(key, tuple) else key
