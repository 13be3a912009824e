"""What ``lyredb.open()`` gives: the tables of a database for code in the same process.

Code in the process is trusted: access is decided for what comes in through protocols.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from lyredb.errors import InvalidKey, UnknownTopic
from lyredb.formats import JSON, PAUSE
from lyredb.plugins.context import Context
from lyredb.resources.attempts import Transactions, current
from lyredb.resources.database import Database
from lyredb.resources.deletion import keys_only
from lyredb.resources.events import EventStream, Inbox
from lyredb.resources.requests import SubscribeOptions, Write
from lyredb.resources.subscription import Subscription
from lyredb.resources.target import Target
from lyredb.resources.transaction import MAX_AGE_S
from lyredb.security.principals import SUPER_USER
from lyredb.storage.blob import PackedBlob
from lyredb.storage.keys import KeyValue
from lyredb.storage.sequencer import settling
from lyredb.tables.declare import Table
from lyredb.tables.declare.table import ClassShape, table_name
from lyredb.tables.gateway import Beginning, RecordWritten, WriteKind
from lyredb.tables.handle import DictShape, TableHandle
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.terms import Query
from lyredb.tables.schema import DEFAULT_DATABASE
from lyredb.tables.stored import StoredTable

TRUSTED = Context(SUPER_USER, "python")

TableT = TypeVar("TableT", bound=Table)


class EmbeddedDatabase:
    """Tables by name and by class; implements `lyredb.tables.gateway.Gateway`.

    Attributes:
        database: The same database as protocols use it.
        tables: ``db.tables.Sensor``: records are dictionaries.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._by_name = {table.name: table for table in database.registry.tables.values()}
        self.tables = Tables(self)

    def __getitem__(self, table: type[TableT]) -> TableHandle[TableT]:
        """Return the table of a class: records are its instances.

        Raises:
            UnknownTopic: The database was opened without this table.
            TypeError: It is no Table class.
        """
        given: object = table
        if not isinstance(given, type) or not issubclass(given, Table) or given is Table:
            way = f"db.tables[{table!r}]" if isinstance(given, str) else 'db.tables["Name"]'
            raise TypeError(f"db[…] takes a class derived from Table; a table by name is {way}")
        name = table_name(table)
        self.stored(name)
        return TableHandle(self, name, ClassShape(table))

    def stored(self, full_name: str) -> StoredTable:
        """Return a table as it is stored.

        Raises:
            UnknownTopic: There is no such table.
        """
        table = self._by_name.get(full_name)
        if table is None:
            hint = did_you_mean(full_name, self._by_name)
            raise UnknownTopic(f"there is no table {full_name}{hint}")
        return table

    def __iter__(self) -> Iterator[str]:
        """Iterate over the full names of the tables."""
        return iter(sorted(self._by_name))

    def _record(self, table: StoredTable, record_id: object) -> Target:
        key = table.check_key(record_id)
        topic = self.database.registry.topic_of(table, key)
        return Target("record", table, topic, id=key, key=table.encode_key(key))

    def _collection(self, table: StoredTable, prefix: str = "") -> Target:
        return self.database.registry.collection(table, prefix)

    def transaction(self, *, retries: int = 0, timeout_s: float = MAX_AGE_S) -> Transactions:
        """Do what follows as one transaction, over all tables of the database.

        ::

            async with db.transaction():
                account = await Account.get("a")
                await Account.put("b", {"amount": account.amount})

        What is done with tables inside the block, by the task that entered it, belongs to
        it. Reads and searches see the database as it was when the block began, and what was
        written inside. At the end all is written together; an exception that leaves the
        block writes nothing. Messages are sent after the commit. A block that only reads
        costs nothing at its end. A block inside a block joins it; an exception that leaves
        the inner one undoes what was done in there.

        Nothing is locked. When somebody else has changed a record meanwhile that was read
        inside, nothing is written and `WriteConflict` is raised. Records that are written
        without being read, and increments, do not conflict. See `Transactions` for
        ``retries``.

        Args:
            retries: How often it is tried again after a conflict.
            timeout_s: After so many seconds the block cannot go on: `Timeout`.
        """
        return Transactions(
            self.database, partial(self.database.begin, TRUSTED, timeout_s), retries
        )

    async def read_record(self, table: str, id: KeyValue) -> dict[str, object] | None:
        """See `Gateway`."""
        target = self._record(self.stored(table), id)
        inside = current(self.database)
        reading = self.database.get(target, TRUSTED) if inside is None else inside.get(target)
        return None if reading is None else reading.value()

    async def write_record(
        self,
        table: str,
        kind: WriteKind,
        id: KeyValue | None,
        value: Mapping[str, object] | None = None,
    ) -> RecordWritten:
        """See `Gateway`."""
        stored = self.stored(table)
        if kind == "create":
            target = self._collection(stored)
        elif id is None:
            raise InvalidKey(f"{kind} needs the key of a record")
        else:
            target = self._record(stored, id)
        write = Write(target, kind, value)
        inside = current(self.database)
        if inside is None:
            written = await self.database.write(write, TRUSTED)
        else:
            written = await inside.write(write)
        return RecordWritten(written.id, written.existed)

    async def publish_message(self, table: str, id: KeyValue | None, message: object) -> None:
        """See `Gateway`."""
        stored = self.stored(table)
        topic = (
            self.database.registry.base_of(stored) if id is None else self._record(stored, id).topic
        )
        is_bytes = isinstance(message, bytes)
        inside = current(self.database)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        send = self.database.publication(
            topic,
            message if isinstance(message, bytes) else JSON.encode(message),
            TRUSTED,
            qos=1,
            content_type="" if is_bytes else JSON.media_type,
            done=settling(sent) if inside is None else None,
        )
        if inside is not None:
            inside.publish(send)
            return
        send()
        await sent  # on disk, where a session that is away wants it

    def find_records(self, table: str, query: Query) -> Iterator[object]:
        """See `Gateway`."""
        target = self._collection(self.stored(table))
        return self.database.search(target, query, TRUSTED, current(self.database))

    async def count_records(self, table: str, query: Query) -> int:
        """See `Gateway`."""
        count = 0
        for one in self.find_records(table, keys_only(query)):
            if one is PAUSE:
                await asyncio.sleep(0)
            else:
                count += 1
        return count

    async def delete_records(self, table: str, query: Query) -> int:
        """See `Gateway`."""
        stored = self.stored(table)
        inside = current(self.database)
        if inside is None:
            return await self.database.delete_matching(self._collection(stored), query, TRUSTED)
        deleted = 0
        for one in self.find_records(table, keys_only(query)):
            if one is PAUSE:
                await asyncio.sleep(0)
            else:
                deleted += (await inside.write(Write(self._record(stored, one), "delete"))).existed
        return deleted

    def blob_names(self, table: str) -> tuple[str, ...]:
        """See `Gateway`."""
        return self.stored(table).blob_names

    def read_blob(self, blob: PackedBlob) -> AsyncIterator[bytes]:
        """See `Gateway`."""
        return self.database.blobs.stream(blob)

    def path_of(self, table: str) -> str | None:
        """See `Gateway`."""
        stored = self.stored(table)
        return self.database.registry.base_of(stored) if stored.schema.export else None

    def follow_records(self, table: str, id: KeyValue | None, start: Beginning) -> EventStream:
        """See `Gateway`."""
        stored = self.stored(table)
        if id is None or (isinstance(id, str) and id.endswith("/")):
            topic_filter = self._collection(stored, id or "").topic
        else:
            topic_filter = self._record(stored, id).topic

        def subscribe(inbox: Inbox, options: SubscribeOptions) -> Subscription:
            return self.database.subscribe(topic_filter, inbox, TRUSTED, options, start.after)

        return EventStream(subscribe, self.database.drained, start)


class Tables:
    """Tables as attributes, and by name for those of other databases."""

    def __init__(self, database: EmbeddedDatabase) -> None:
        self._database = database

    def __getattr__(self, name: str) -> TableHandle[dict[str, Any]]:
        """Return a table of the default database."""
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except UnknownTopic as error:
            raise AttributeError(str(error)) from None

    def __getitem__(self, name: str) -> TableHandle[dict[str, Any]]:
        """Return a table by its name, or by ``<database>.<table>``.

        Raises:
            UnknownTopic: There is no such table.
        """
        full_name = name if "." in name else f"{DEFAULT_DATABASE}.{name}"
        stored = self._database.stored(full_name)
        return TableHandle(self._database, full_name, DictShape(stored.schema.primary_key))
