"""What code asks of an open database. Implemented by ``resources``, which stands above."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from lyredb.storage.blob import PackedBlob
from lyredb.storage.keys import KeyValue
from lyredb.tables.query.terms import Query

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

WriteKind = Literal["put", "create", "patch", "delete"]
"""``create`` refuses an existing key, and makes one when the record has none."""
EventType = Literal["put", "delete", "message"]


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One thing that happened to a record or its topic.

    Attributes:
        type: ``put`` (a patch too: the whole new record), ``delete`` or ``message``.
        value: The record, the message, or ``None`` after a delete.
        id: The record's key, ``None`` for a message to the table's own topic.
        position: A token to resume after; ``""`` for a message that is not in the log.
        current: It is state that was there before, not a change.
        left: The record still exists, but is not seen by the subscription any more.
        reason: Of a delete that nobody asked for: ``expired`` or ``evicted``.
    """

    type: EventType
    value: T | None
    id: KeyValue | None
    position: str = ""
    current: bool = False
    left: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RecordWritten:
    """A write that is on disk: its key, and whether there was a record before."""

    id: KeyValue
    existed: bool


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a subscription tells first; by default current state.

    Attributes:
        omit_current: Changes only.
        after: The position to resume after, which wins; ``""`` for none.
        start_ms: What was committed after this time, in epoch milliseconds; ``None``.
        previous_count: The last changes and messages, at most so many; 0 for not.
    """

    omit_current: bool = False
    after: str = ""
    start_ms: int | None = None
    previous_count: int = 0


class EventSource(Protocol):
    """The events of one subscription, in order."""

    async def next_event(self) -> Event[object]:
        """Wait for the next event; records and messages as plain values.

        Raises:
            StopAsyncIteration: It was closed.
            LyreError: It cannot go on.
        """

    async def close(self) -> None:
        """End the subscription. A second call does nothing."""


class Gateway(Protocol):
    """The records of one open database, by the full names of its tables.

    Everything is done as the super user: code in the process is trusted.
    """

    async def read_record(self, table: str, id: KeyValue) -> dict[str, object] | None:
        """Return a record, as a dictionary that the caller may change.

        Raises:
            UnknownTopic: The database has no such table.
            InvalidKey: The table cannot have this key.
        """

    async def write_record(
        self,
        table: str,
        kind: WriteKind,
        id: KeyValue | None,
        value: Mapping[str, object] | None = None,
    ) -> RecordWritten:
        """Write, and return once it is on disk.

        Args:
            table: Full name.
            kind: What to do.
            id: ``None`` for ``create`` only: the key is in the value, or is made.
            value: The record or the changes; ``None`` for ``delete``.

        Raises:
            InvalidKey, InvalidRecord, RecordExists: Nothing was written.
            Overloaded, StorageError: See `lyredb.errors`.
        """

    async def publish_message(self, table: str, id: KeyValue | None, message: object) -> None:
        """Deliver a message to whoever listens to a record, or to the table's own topic.

        Args:
            table: Full name.
            id: The record need not exist.
            message: A plain value; ``bytes`` are sent as they are.
        """

    def find_records(self, table: str, query: Query) -> Iterator[object]:
        """Return what a query finds, lazily; wrong queries are refused at once.

        `lyredb.formats.PAUSE` among the results says that others should have a turn.

        Raises:
            InvalidQuery, UnknownAttribute: The query makes no sense.
        """

    async def count_records(self, table: str, query: Query) -> int:
        """Return how many records a query finds.

        Raises:
            InvalidQuery, UnknownAttribute: The query makes no sense.
        """

    async def delete_records(self, table: str, query: Query) -> int:
        """Delete what a query finds, all or nothing; return how many records that were.

        Raises:
            InvalidQuery, UnknownAttribute: The query makes no sense.
            TransactionTooLarge, WriteConflict: Nothing was deleted.
        """

    def blob_names(self, table: str) -> tuple[str, ...]:
        """Return the attributes of a table that are blobs."""

    def read_blob(self, blob: PackedBlob) -> AsyncIterator[bytes]:
        """Stream the file of a blob.

        Raises:
            StorageFailed: It cannot be read.
        """

    def path_of(self, table: str) -> str | None:
        """Return the path under which HTTP has a table, ``None`` when it is not exported."""

    def follow_records(self, table: str, id: KeyValue | None, start: Beginning) -> EventSource:
        """Begin a subscription.

        Args:
            table: Full name.
            id: A record; text that ends with a slash: all below it; ``None``: all.
            start: What comes first.

        Raises:
            InvalidQuery: The log cannot be replayed so.
        """
