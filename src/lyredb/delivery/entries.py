"""What an entry of the log is to those who listen: its record, topics and routes.

Entries that nobody could want are told apart without decoding them (`Entries.wants`); the
routes of a record are looked up once and kept until an edit drops one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lyredb.delivery.admission import Topics
from lyredb.delivery.message import RecordTable
from lyredb.delivery.router import Router
from lyredb.delivery.routes import Address, Route
from lyredb.delivery.subscriptions import Subscriptions
from lyredb.storage.entry import Entry
from lyredb.storage.keys import decode_key
from lyredb.storage.mutation import MESSAGE

_MAX_RECORDS: Final = 65_536
_MAX_RECORD_KEY_BYTES: Final = 8_000_000
"""Cached records of the log, as many as there are routes."""


class Record:
    """What the log's entries of one record need.

    Attributes:
        id: The key as a value, ``None`` for the table's root topic.
        routes: Of its topics.
    """

    __slots__ = ("id", "routes")

    def __init__(self, record_id: object, routes: tuple[Route, ...]) -> None:
        self.id = record_id
        self.routes = routes


class Entries:
    """Finds the record of an entry.

    Args:
        topics: Knows the topics of a record.
        tables: By slot; looked up at each use, so it may grow.
        subscriptions: Who listens.
        router: Makes routes.
    """

    def __init__(
        self,
        topics: Topics,
        tables: Mapping[int, RecordTable],
        subscriptions: Subscriptions,
        router: Router,
    ) -> None:
        self._topics = topics
        self._tables = tables
        self._subscriptions = subscriptions
        self._router = router
        self._records: dict[Address, Record] = {}
        self._key_bytes = 0  # of the cached records
        self._heads: dict[int, tuple[bytes, ...]] = {}

    def forget(self) -> None:
        """Ask again which topics records have."""
        self._records.clear()
        self._key_bytes = 0
        self._heads.clear()

    def table(self, slot: int) -> RecordTable | None:
        """Return a table."""
        return self._tables.get(slot)

    def wants(self, kind: int, slot: int) -> bool:
        """Whether any filter could match a topic of the table; cheap, errs towards yes."""
        if kind > MESSAGE:
            return False
        heads = self._heads.get(slot)
        if heads is None:
            roots = self._topics.of(slot, b"")
            heads = self._heads[slot] = tuple(root.split(b"/", 1)[0] for root in roots)
        for head in heads:  # noqa: SIM110  # any() and its generator cost 0.3 us per entry
            if self._subscriptions.may_match_below(head):
                return True
        return False

    def known(self, address: Address) -> Record | None:
        """Return a record that was asked for before, if its routes still hold."""
        record = self._records.get(address)
        if record is not None:
            for route in record.routes:
                if route.is_dropped:
                    return None
        return record

    def record(self, entry: Entry) -> Record:
        """Return the record of an entry, with routes that hold."""
        address = (entry.slot, entry.key)
        record = self.known(address)
        if record is not None:
            return record
        key = entry.full_id or entry.key
        routes = tuple(
            self._router.route(topic, address) for topic in self._topics.of(entry.slot, key)
        )
        if len(self._records) >= _MAX_RECORDS or self._key_bytes >= _MAX_RECORD_KEY_BYTES:
            self._records.clear()
            self._key_bytes = 0
        self._key_bytes += len(key)
        record = self._records[address] = Record(decode_key(key) if key else None, routes)
        return record
