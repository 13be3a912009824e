r"""The registry: one path addresses a thing in every protocol.

Each exported table has a path; the longest registered path that the request's path
begins with wins. Unknown roots belong to the table of open topics when these are
on. What is not exported has an internal topic, ``\0<slot>/<key>``, which only code
in the same process can subscribe to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lyredb.errors import InvalidKey, InvalidTopic, RecordNotFound, UnknownTopic
from lyredb.resources.target import Target, TargetKind
from lyredb.storage.keys import KeyValue, decode_key
from lyredb.storage.layout import TOPIC_SLOT
from lyredb.tables.schema import RESERVED_ROOTS, Export
from lyredb.tables.stored import StoredTable

MAX_TOPIC_BYTES = 65_535
"""What the length field of MQTT can say (MQTT 5 §1.5.4)."""

INTERNAL = "\0"
"""How the topics of tables that are not exported begin."""


@dataclass(frozen=True, slots=True)
class Root:
    """Where a table is mounted: the path's segments and the protocols that see it."""

    path: str
    table: StoredTable
    hidden_from: frozenset[str]

    def serves(self, protocol: str) -> bool:
        """Tell whether the export's switch for this protocol is on, or it has none."""
        return protocol not in self.hidden_from


class Registry:
    """Resolves paths and topics to targets, and records to their topics."""

    def __init__(self, tables: Iterable[StoredTable], *, open_topics: bool) -> None:
        self._set(tables, open_topics=open_topics)

    def replace(self, tables: Iterable[StoredTable]) -> None:
        """Resolve to these tables from now on.

        Raises:
            InvalidTopic: Two are exported by the same path; nothing has changed.
        """
        tables, open_topics = tuple(tables), self.open_table is not None
        Registry(tables, open_topics=open_topics)  # raises before anything is replaced
        self._set(tables, open_topics=open_topics)

    def _set(self, tables: Iterable[StoredTable], *, open_topics: bool) -> None:
        self._tables = {table.slot: table for table in tables}
        self._roots: dict[str, Root] = {}
        self._depth = 1
        self._deeper: set[str] = set()  # first segments of paths that have more than one
        self._by_first: dict[str, tuple[Root, ...]] = {}
        self._paths: dict[int, str] = {}
        self.open_table = self._tables[TOPIC_SLOT] if open_topics else None
        for table in self._tables.values():
            self._register(table)

    def _register(self, table: StoredTable) -> None:
        export = table.schema.export
        if export is None:
            return
        path = export.path
        if path.split("/", 1)[0] in RESERVED_ROOTS:
            raise InvalidTopic(
                f"table {table.name} cannot be exported as {path!r}: "
                f"{', '.join(RESERVED_ROOTS)} belong to the server"
            )
        if path in self._roots:
            other = self._roots[path].table.name
            raise InvalidTopic(f"tables {other} and {table.name} are both exported as {path!r}")
        root = self._roots[path] = Root(path, table, _switched_off(export))
        first = path.split("/", 1)[0]
        self._by_first[first] = (*self._by_first.get(first, ()), root)
        self._paths[table.slot] = path
        self._depth = max(self._depth, path.count("/") + 1)
        if "/" in path:
            self._deeper.add(path.split("/", 1)[0])

    @property
    def tables(self) -> dict[int, StoredTable]:
        """All tables by slot."""
        return self._tables

    def roots(self, protocol: str) -> Iterator[Root]:
        """The exports that this protocol sees."""
        return (root for root in self._roots.values() if root.serves(protocol))

    def roots_at(self, first: str, protocol: str) -> list[Root]:
        """Those of `roots` whose paths begin with this segment."""
        return [root for root in self._by_first.get(first, ()) if root.serves(protocol)]

    def resolve(self, path: str, protocol: str) -> Target:
        """Resolve a request's path (decoded, without its leading slash).

        Raises:
            UnknownTopic: No table is exported there to this protocol.
            InvalidKey: The rest of the path cannot be a key of the table.
            RecordNotFound: The table has integer keys and the rest is not one in
                its canonical form.
        """
        root, rest = self._split(path, protocol)
        if root is None:
            return self._resolve_open(path)
        if rest is None:
            return Target("table", root.table, root.path)
        if rest == "" or rest.endswith("/"):
            return self.collection(root.table, rest)
        return self._resolve_record(root.table, root.path, rest)

    def _split(self, path: str, protocol: str) -> tuple[Root | None, str | None]:
        """The longest root that the path begins with, and the rest (``None``: nothing)."""
        first, slash, remainder = path.partition("/")
        if first not in self._deeper:  # the common case, on the way of each request
            root = self._roots.get(first)
            if root is not None and protocol in root.hidden_from:
                raise UnknownTopic(f"{shorten(path)} is not offered over {protocol}")
            return root, remainder if root is not None and slash else None
        segments = path.split("/", self._depth)
        for length in range(min(self._depth, len(segments)), 0, -1):
            root = self._roots.get("/".join(segments[:length]))
            if root is not None and root.serves(protocol):
                rest = path[len(root.path) + 1 :] if len(path) > len(root.path) else None
                return root, rest
            if root is not None:
                raise UnknownTopic(f"{shorten(path)} is not offered over {protocol}")
        return None, None

    def _resolve_record(self, table: StoredTable, base: str, rest: str) -> Target:
        attribute = self._attribute_of(table, rest)
        text = rest[: -len(attribute) - 1] if attribute else rest
        record_id, key = table.locate(text)
        kind: TargetKind = "property" if attribute else "record"
        return Target(kind, table, f"{base}/{text}", record_id, key, attribute=attribute)

    @staticmethod
    def literal(target: Target) -> Target | None:
        """The record whose id is all that a property's path says: id, dot and attribute.

        Returns:
            ``None`` when the table can have no such key.
        """
        assert target.id is not None, "a property is one of a record"
        named = target.table.key_to_text(target.id)
        base = target.topic[: len(target.topic) - len(named)]
        text = f"{named}.{target.attribute}"
        try:
            record_id, key = target.table.locate(text)
        except (InvalidKey, RecordNotFound):
            return None
        return Target("record", target.table, f"{base}{text}", record_id, key)

    @staticmethod
    def _attribute_of(table: StoredTable, rest: str) -> str:
        """The declared attribute after the last dot of the path, ``""`` for none."""
        name = rest.rpartition(".")[2] if "." in rest else ""
        return name if name and table.schema.has_attribute(name) else ""

    def _resolve_open(self, path: str) -> Target:
        first = path.split("/", 1)[0]
        if self.open_table is None or not path or self._is_reserved(first):
            raise UnknownTopic(f"no table is exported as {shorten(path)}")
        if path.endswith("/"):
            return self.collection(self.open_table, path)
        return self._open_record(path)

    @staticmethod
    def _is_reserved(first: str) -> bool:
        """Whether a first level belongs to the server; an empty one is nobody's."""
        return first in RESERVED_ROOTS or first.startswith("$")

    def _open_record(self, topic: str) -> Target:
        table = self.open_table
        assert table is not None
        # A path can say what a topic cannot; delivered, it would end its subscribers.
        for character in "\0+#":
            if character in topic:
                raise InvalidTopic(f"a topic must not contain {character!r}")
        if len(topic) > MAX_TOPIC_BYTES or len(topic.encode()) > MAX_TOPIC_BYTES:
            raise InvalidTopic(f"a topic has at most {MAX_TOPIC_BYTES} bytes")
        return Target("record", table, topic, id=topic, key=table.encode_key(topic))

    def topic(self, topic: str, protocol: str) -> Target:
        """Resolve a topic (not a filter) to the record or root that it names.

        Raises:
            UnknownTopic: As `resolve`.
            InvalidTopic: The topic names no possible record of its table.
        """
        if topic.startswith(INTERNAL):
            return self._internal(topic, protocol)
        root, rest = self._split(topic, protocol)
        if root is None:
            return self._open_topic(topic)
        if rest is None:
            return Target("table", root.table, root.path)
        try:
            record_id, key = root.table.locate(rest)
        except (InvalidKey, RecordNotFound) as error:
            raise InvalidTopic(f"{shorten(topic)} cannot be a record: {error}") from None
        return Target("record", root.table, topic, record_id, key)

    def _open_topic(self, topic: str) -> Target:
        """Open topics take every legal topic, byte for byte, but the server's own."""
        first = topic.split("/", 1)[0]
        if self.open_table is None or self._is_reserved(first):
            raise UnknownTopic(f"no table is exported as {shorten(topic)}")
        return self._open_record(topic)

    def require_topic(self, topic: str, protocol: str) -> None:
        """Refuse what `topic` refuses, of topics that are legal filters; cheap for open ones.

        Raises:
            UnknownTopic, InvalidTopic, InvalidKey: As `topic`.
        """
        first = topic.partition("/")[0]
        table = None if topic.startswith(INTERNAL) else self.open_table
        if table is None or first in self._by_first or self._is_reserved(first):
            self.topic(topic, protocol)
        else:
            table.encode_key(topic)

    def _internal(self, topic: str, protocol: str) -> Target:
        slot_text, _, text = topic[1:].partition("/")
        table = self._tables.get(int(slot_text)) if slot_text.isdigit() else None
        if protocol != "python" or table is None:
            raise UnknownTopic("topics that begin with NUL are not for clients")
        if not text:
            return Target("table", table, topic)
        record_id, key = table.locate(text)
        return Target("record", table, topic, record_id, key)

    def collection(self, table: StoredTable, prefix: str = "") -> Target:
        """The target of a table's records, or of those below a prefix (``"hall/"``)."""
        base = self.base_of(table)
        whole = f"{base}/{prefix}" if base else prefix
        # `a/+/#` and not `a/#`: the latter also matches the record `a` itself (MQTT 5
        # §4.7.1.2), which does not lie in the collection `a/`.
        wildcard = "+/#" if prefix else "#"
        return Target("collection", table, f"{whole}{wildcard}", prefix=prefix)

    def record(self, table: StoredTable, value: object) -> Target:
        """The target of a table's record, named by its key as code or a body has it.

        Raises:
            InvalidKey: The table cannot have it.
        """
        key = table.check_key(value)
        return Target("record", table, self.topic_of(table, key), key, table.encode_key(key))

    def base_of(self, table: StoredTable) -> str:
        """The path that the table's topics begin with; an internal one if not exported."""
        path = self._paths.get(table.slot)
        if path is not None:
            return path
        return "" if table is self.open_table else f"{INTERNAL}{table.slot}"

    def topic_of(self, table: StoredTable, record_id: KeyValue) -> str:
        """The topic of a record."""
        text = table.key_to_text(record_id)
        base = self.base_of(table)
        return f"{base}/{text}" if base else text

    def of(self, slot: int, key: bytes) -> tuple[bytes, ...]:
        """All topics of a record, for delivery; none when nobody can subscribe to it."""
        table = self._tables.get(slot)
        if table is None:
            return ()
        if not key:
            return (self.base_of(table).encode(),)
        topic = self.topic_of(table, decode_key(key))
        if table is self.open_table and self._is_shadowed(topic):
            return ()
        return (topic.encode(),)

    def _is_shadowed(self, topic: str) -> bool:
        """An open topic whose root was exported as a table later is not served any more."""
        segments = topic.split("/", self._depth)
        return any("/".join(segments[:n]) in self._roots for n in range(1, len(segments) + 1))


def _switched_off(export: Export) -> frozenset[str]:
    switches = {"rest": export.rest, "mqtt": export.mqtt, "ws": export.ws, "sse": export.sse}
    return frozenset(protocol for protocol, is_on in switches.items() if not is_on)


def shorten(text: str, length: int = 60) -> str:
    """A text from outside as it may stand in a message: quoted and not too long."""
    return repr(text if len(text) <= length else text[: length - 1] + "…")
