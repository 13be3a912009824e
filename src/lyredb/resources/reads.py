"""Reading single records, and describing their tables, as somebody may see them."""

from __future__ import annotations

from lyredb.plugins.context import Context
from lyredb.resources.access import Access, unreadable
from lyredb.resources.description import describe
from lyredb.resources.registry import Registry
from lyredb.resources.requests import Reading
from lyredb.resources.target import Target
from lyredb.storage.engine import Engine
from lyredb.storage.layout import IndexSource
from lyredb.storage.record import DELETED, decode_header


class Reads:
    """What `lyredb.resources.database.Database` reads without a query.

    Args:
        engine: The store.
        registry: Resolves paths.
        access: Decides.
    """

    def __init__(self, engine: Engine, registry: Registry, access: Access) -> None:
        self._engine = engine
        self._registry = registry
        self._access = access

    def meant(self, target: Target) -> Target:
        """Return the record whose id is all of a property's path, where there is one.

        ``Sensor/a.value`` is the record ``a.value`` before it is an attribute of ``a``. A
        target that is no property is returned as it is.
        """
        if target.kind != "property":
            return target
        literal = self._registry.literal(target)
        if literal is None or self._engine.record(literal.table.slot, literal.key) is None:
            return target
        return literal

    def describe(
        self, target: Target, context: Context, *, counts: bool = False
    ) -> dict[str, object]:
        """Describe a table: its names, and the attributes with which the principal may do anything.

        Args:
            target: Of the table.
            context: Who asks.
            counts: Tell how many records there are, too.

        Raises:
            NotAuthorised: The principal may not.
        """
        self._access.require(context.principal, "describe", target.table)
        names = self._access.usable(context.principal, target.table)
        if not counts:
            return describe(target.table, names=names)
        with self._engine.snapshot() as snapshot:
            slot = target.table.slot
            with_deadlines = sum(
                snapshot.index_count(index.slot)
                for index in target.table.layout.indexes
                if index.source is IndexSource.EXPIRES
            )
            return describe(target.table, snapshot.count(slot), with_deadlines, names)

    def deleted_version(self, target: Target, context: Context) -> int:
        """Return the version with which a record was deleted, 0 when that is not known.

        Raises:
            NotAuthorised: The principal may not read the table.
        """
        self._access.require(context.principal, "read", target.table, target.topic)
        with self._engine.snapshot() as snapshot:
            grave = snapshot.grave(target.table.slot, target.key)
        header = None if grave is None else decode_header(grave)
        return header.version if header is not None and header.flags & DELETED else 0

    def get(self, target: Target, context: Context) -> Reading | None:
        """Read one record, ``None`` when there is none.

        Raises:
            NotAuthorised: The principal may not read the table, or not the attribute that the
                target names (there or not), or only some attributes and these are bytes.
        """
        table = target.table
        names = self._access.readable(context.principal, table, target.topic)
        if names is not None and target.kind == "property" and target.attribute not in names:
            raise unreadable(context.principal, table, target.attribute)
        if target.id is None:
            return None
        stored = self._engine.record(table.slot, target.key)
        if stored is None:
            return None
        reading = Reading(table, target.id, stored, names)
        if names is not None and reading.header.opaque:
            raise unreadable(context.principal, table, "what is no object")
        return reading
