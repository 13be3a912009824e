"""The tables of a node: brings the store to the declared schema, and finds them.

What a table was declared as is a schema row, written by a SCHEMA entry of the log, so
that everybody who follows the log learns of it. The rows are the schema in force: a process
that reads beside the one that writes takes its tables from there alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

from lyredb.errors import LyreError, UnknownTopic
from lyredb.storage.engine import Engine
from lyredb.storage.mutation import Applied
from lyredb.storage.writer import Writer
from lyredb.tables import evolution
from lyredb.tables.evolution import Plan
from lyredb.tables.schema import SYSTEM_DATABASE, Schema
from lyredb.tables.stored import StoredTable

AT_ONCE_S: Final = 0.05
"""How long an open builds indexes itself: those of small tables are complete when it returns,
some 10,000 records; all others are built afterwards, between writes."""


class Catalogue:
    """All tables of a node; made by `Catalogue.open`, or `Catalogue.read` beside a writer.

    The mappings are the same objects as long as it lives; `reread` changes what is in them.

    Attributes:
        tables: By ``<database>.<table>``, the built-in ones included.
        by_slot: The same tables by slot.
    """

    def __init__(self, tables: Iterable[StoredTable]) -> None:
        self._by_slot: dict[int, StoredTable] = {}
        self._tables: dict[str, StoredTable] = {}
        self.by_slot: Mapping[int, StoredTable] = self._by_slot
        self.tables: Mapping[str, StoredTable] = self._tables
        self._adopt(tables)

    def _adopt(self, tables: Iterable[StoredTable]) -> None:
        by_slot = {table.slot: table for table in tables}
        for slot in self._by_slot.keys() - by_slot.keys():
            del self._tables[self._by_slot.pop(slot).name]
        self._by_slot.update(by_slot)
        self._tables.update({table.name: table for table in by_slot.values()})

    @classmethod
    def open(
        cls, engine: Engine, writer: Writer, schema: Schema, *, has_readers: bool = False
    ) -> Catalogue:
        """Bring the store to a schema and return its tables.

        New tables and indexes get slots. Added indexes are in ``engine.building`` until
        the writer has built them, small ones are built at once. The same schema again
        writes nothing.

        Args:
            engine: The store.
            writer: Its writer.
            schema: As it is to be.
            has_readers: Other processes may be reading by an earlier schema: removed
                indexes stay until `retire`.

        Raises:
            SchemaError: The key of a table with records would change, or there are more
                tables and indexes than the store has room for. Nothing was done.
            StorageError: It could not be written. What was done until then stays, and
                another open goes on from there.
            FormatMismatch: A schema row was written by a later version.
        """
        planned = evolution.plan(engine, schema)
        _define(engine, planned)
        _write_rows(writer, planned)
        catalogue = cls(evolution.stored_tables(engine))
        if not has_readers:
            catalogue.retire(engine)
        deadline = time.monotonic() + AT_ONCE_S
        while engine.building and time.monotonic() < deadline:
            writer.maintenance.builds.step()
        writer.wake()
        return catalogue

    @classmethod
    def read(cls, engine: Engine) -> Catalogue:
        """Return the tables of a store that another process brings to its schema.

        Raises:
            FormatMismatch: A schema row was written by a later version.
        """
        return cls(evolution.stored_tables(engine))

    def table(self, full_name: str) -> StoredTable:
        """Return a table by its full name.

        Raises:
            UnknownTopic: There is none; the message names those of the application.
        """
        table = self.tables.get(full_name)
        if table is None:
            own = sorted(
                name for name, one in self.tables.items() if one.schema.database != SYSTEM_DATABASE
            )
            raise UnknownTopic(f"there is no table {full_name}; there are {', '.join(own)[:300]}")
        return table

    def plan(self, engine: Engine, schema: Schema) -> Plan:
        """Return what would bring the store to another schema while it is in use.

        Raises:
            SchemaError: It cannot be brought there.
        """
        return evolution.plan(engine, schema, live=True)

    async def evolve(self, engine: Engine, writer: Writer, planned: Plan) -> int:
        """Do what was planned, and return the log position of the new schema.

        Returns when it is on disk; everybody who follows the log takes it from there. Of
        this catalogue too, that is done by `reread`.

        Raises:
            StorageError: It could not be written. The schema in force stays so; tables
                and indexes that were made already are not used.
        """
        _define(engine, planned)
        writer.wake()
        if not planned.rows:
            return engine.position
        return (await writer.commit(planned.rows)).position

    def reread(self, engine: Engine) -> None:
        """Take the tables from the store as they are by now.

        Raises:
            FormatMismatch: A schema row was written by a later version.
        """
        engine.refresh_shape()
        self._adopt(evolution.stored_tables(engine))

    def retire(self, engine: Engine) -> bool:
        """Remove the indexes that no table declares; True if there were some.

        Only when nobody reads by a schema that declares them.

        Raises:
            StorageError: It could not be written; may be tried again.
        """
        layouts = evolution.without_retired(engine)
        for layout in layouts:
            engine.define_table(layout)
        return bool(layouts)


def _define(engine: Engine, planned: Plan) -> None:
    for layout in planned.layouts:
        engine.define_table(layout)


def _write_rows(writer: Writer, planned: Plan) -> None:
    """Write the rows that changed, in one transaction, and wait until it is on disk."""
    if not planned.rows:
        return
    results: list[Applied | LyreError] = []
    writer.submit(planned.rows, results.append)
    writer.commit_now()
    (result,) = results
    if isinstance(result, LyreError):
        raise result
