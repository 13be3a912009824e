"""Deciding again about a write that was admitted earlier, by the rights of now.

For what one process prepares and another sends later: the will of a client whose worker
is lost. Its user may have lost the right to it, or be gone.
"""

from __future__ import annotations

from collections.abc import Mapping

from lyredb.errors import NotAuthorised
from lyredb.resources.allowance import EVERYTHING, NOTHING, Allowance, allowance_of
from lyredb.security.principals import ANONYMOUS
from lyredb.security.rights import NO_RIGHTS
from lyredb.security.role_rows import role_in
from lyredb.security.topics import TopicRules
from lyredb.security.users import user_in
from lyredb.storage.engine import Engine
from lyredb.storage.keys import decode_key
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

    def __call__(self, mutation: Mutation, client_id: str = "", role: str = "") -> Mutation:
        """Return what may be sent: the write, with what its commit has to see to.

        Args:
            mutation: As it was prepared.
            client_id: Of who prepared it, where there was one.
            role: What others said of a user that is not stored here. One that is has its own.

        Raises:
            NotAuthorised: Its user may not do it any more.
        """
        table = self._tables.get(mutation.slot)
        found = NOTHING if table is None else self._allowance(mutation.user, role, table)
        rights = found.rights
        if rights.topics is not None and not _may_write(rights.topics, mutation, client_id):
            rights = NO_RIGHTS
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
        return mutation if table is None or found.limit is None else found.limit.applied(mutation)

    def _allowance(self, user: str, given: str, table: StoredTable) -> Allowance:
        with self._engine.snapshot() as snapshot:
            known = user_in(snapshot, user) if user else None
            if known is not None:
                role = known.role if known.active else ""
            else:
                role = given if user else ANONYMOUS.name
            definition = role_in(snapshot, role) if role else None
        if definition is None:
            return NOTHING
        if definition.super_user:  # nobody else can give that
            return NOTHING if user and known is None else EVERYTHING
        rights = definition.rights(table.schema.database, table.schema.name)
        return allowance_of(role, rights, table)


def _may_write(rules: TopicRules, mutation: Mutation, client_id: str) -> bool:
    """Decide by the topic, which is the id of a record of open topics."""
    topic = decode_key(mutation.full_id or mutation.key)
    rights = rules.bound(mutation.user, client_id)
    return isinstance(topic, str) and rights.may_all("write", topic)
