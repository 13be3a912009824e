"""Deciding again about a write that was admitted earlier, by the rights of now.

For what one process prepares and another sends later: the will of a client whose worker
is lost. Its user may have lost the right to it, or be gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from lyredb.errors import NotAuthorised
from lyredb.resources.access import WriteLimit
from lyredb.security.principals import ANONYMOUS
from lyredb.security.rights import NO_RIGHTS, TableRights
from lyredb.security.role_rows import role_in
from lyredb.security.users import user_in
from lyredb.storage.engine import Engine
from lyredb.storage.mutation import Kind, Mutation
from lyredb.tables.stored import StoredTable


class Readmission:
    """Decides by what is committed; belongs where the writer is.

    Args:
        engine: Where users and roles are read.
        tables: By slot.
    """

    def __init__(self, engine: Engine, tables: Mapping[int, StoredTable]) -> None:
        self._engine = engine
        self._tables = tables

    def __call__(self, mutation: Mutation) -> Mutation:
        """Return what may be sent: the write, with the condition that its rights need.

        Raises:
            NotAuthorised: Its user may not do it any more.
        """
        table = self._tables.get(mutation.slot)
        rights = NO_RIGHTS if table is None else self._rights(mutation.user, table)
        name = "a table" if table is None else table.schema.name
        who = mutation.user or ANONYMOUS.name
        if mutation.kind is Kind.PUT or mutation.kind is Kind.PATCH:
            allowed = rights.insert or rights.update
        elif mutation.kind is Kind.DELETE:
            allowed = rights.delete
        else:
            allowed = mutation.kind is Kind.MESSAGE and rights.insert
        if not allowed:
            raise NotAuthorised(f"{who} may not write to {name} any more")
        if mutation.kind in (Kind.MESSAGE, Kind.DELETE) or (rights.insert and rights.update):
            return mutation
        limit = WriteLimit("insert" if rights.insert else "update", who, name)
        return replace(mutation, precondition=limit.on(mutation.precondition))

    def _rights(self, user: str, table: StoredTable) -> TableRights:
        with self._engine.snapshot() as snapshot:
            role = ANONYMOUS.name
            if user:
                found = user_in(snapshot, user)
                if found is None or not found.active:
                    return NO_RIGHTS
                role = found.role
            definition = role_in(snapshot, role)
        if definition is None:
            return NO_RIGHTS
        return definition.rights(table.schema.database, table.schema.name)
