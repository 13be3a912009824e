"""Roles: rows of ``system.role``, and what they allow as far as the log was told.

Rights are asked for on every decision, so they are kept in memory. They change only by
the access entries of the log, which carry the definition: whoever looked into the table
instead would let a right begin before entries that are older than it.
"""

from __future__ import annotations

from lyredb.errors import InvalidRecord, LastSuperUser, RecordNotFound, RoleInUse
from lyredb.security.changes import change, changed_at
from lyredb.security.rights import NO_RIGHTS, RoleDefinition, TableRights, read_role
from lyredb.security.role_rows import (
    BUILT_IN,
    pack_role,
    role_in,
    roles_in,
    super_roles,
    unpack_role,
)
from lyredb.security.topics import TopicRules
from lyredb.security.users import has_super_user, users_in
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import ROLE_SLOT
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.sequencer import Sequencer
from lyredb.storage.snapshot import Snapshot


class Roles:
    """The roles of a node.

    Args:
        engine: Where they are read.
        sequencer: Where changes go.
    """

    def __init__(self, engine: Engine, sequencer: Sequencer) -> None:
        self._engine = engine
        self._sequencer = sequencer
        self._known: dict[str, RoleDefinition | None] = {BUILT_IN.name: BUILT_IN}
        self._rights: dict[tuple[str, str], TableRights] = {}
        self.changes = 0
        """How many changes were heeded: whoever works in steps sees that it has to ask again."""

    def find(self, name: str) -> RoleDefinition | None:
        """Return a role as last committed, ``None`` when it is not defined."""
        with self._engine.snapshot() as snapshot:
            return role_in(snapshot, name)

    def all(self) -> tuple[RoleDefinition, ...]:
        """Return all roles as last committed, the built-in one first."""
        with self._engine.snapshot() as snapshot:
            return tuple(roles_in(snapshot))

    async def put(self, definition: RoleDefinition) -> int:
        """Define a role or replace its definition.

        Returns:
            The log position that contains the change.

        Raises:
            InvalidRecord: The definition is wrong, or the role is built in.
            LastSuperUser: There would be no active super user any more.
            StorageError, Overloaded: As every write.
        """
        _refuse_built_in(definition.name)
        read_role(definition.name, definition.as_mapping())

        def plan(snapshot: Snapshot) -> tuple[Mutation, ...]:
            before = role_in(snapshot, definition.name)
            if before == definition:
                return ()
            _require_super_user(snapshot, before, definition)
            body = pack_role(definition)
            return (
                Mutation(ROLE_SLOT, encode_key(definition.name), Kind.PUT, body),
                Mutation(ROLE_SLOT, definition.name.encode(), Kind.ACCESS, body),
            )

        return await change(self._engine, self._sequencer, plan)

    async def delete(self, name: str) -> int:
        """Delete a role.

        Returns:
            The log position that contains the change.

        Raises:
            RecordNotFound: There is none of this name.
            RoleInUse: There are users with this role.
            InvalidRecord: It is built in.
            StorageError, Overloaded: As every write.
        """
        _refuse_built_in(name)

        def plan(snapshot: Snapshot) -> tuple[Mutation, ...]:
            if role_in(snapshot, name) is None:
                raise RecordNotFound(f"there is no role {name[:60]!r}")
            held = sum(user.role == name for user in users_in(snapshot))
            if held:
                raise RoleInUse(f"{held} user{'s have' if held > 1 else ' has'} the role {name}")
            return (
                Mutation(ROLE_SLOT, encode_key(name), Kind.DELETE),
                Mutation(ROLE_SLOT, name.encode(), Kind.ACCESS),
            )

        return await change(self._engine, self._sequencer, plan)

    def rights(self, role: str, table: str) -> TableRights:
        """Return what a role may do with a table, as far as the log was told.

        Args:
            role: Its name; one that is not defined has no rights.
            table: ``"<database>.<table>"``.
        """
        found = self._rights.get((role, table))
        if found is None:
            definition = self._definition(role)
            database, _, name = table.partition(".")
            found = NO_RIGHTS if definition is None else definition.rights(database, name)
            self._rights[(role, table)] = found
        return found

    def topics(self, role: str) -> TopicRules | None:
        """Return the patterns of a role that decide on open topics, ``None`` for none."""
        definition = self._definition(role)
        return None if definition is None else definition.topics

    def is_super_user(self, role: str) -> bool:
        """Tell whether the users of a role may do everything, as far as the log was told."""
        definition = self._definition(role)
        return definition is not None and definition.super_user

    def heed(self, name: str, body: bytes) -> None:
        """Take a definition from an access entry of the log; an empty body: it was deleted."""
        self.changes += 1
        self._known[name] = unpack_role(name, body) if body else None
        for stale in [key for key in self._rights if key[0] == name]:
            del self._rights[stale]

    def changed_at(self) -> int:
        """The log position of the last change of users or roles, told yet or not."""
        return changed_at(self._engine)

    def _definition(self, name: str) -> RoleDefinition | None:
        if name not in self._known:
            self._known[name] = self.find(name)
        return self._known[name]


def _require_super_user(
    snapshot: Snapshot, before: RoleDefinition | None, after: RoleDefinition
) -> None:
    if before is None or not before.super_user or after.super_user:
        return
    users = tuple(users_in(snapshot))
    roles = super_roles(snapshot)
    if has_super_user(users, roles) and not has_super_user(users, roles - {after.name}):
        raise LastSuperUser(f"no active super user would be left without the role {after.name}")


def _refuse_built_in(name: str) -> None:
    if name == BUILT_IN.name:
        raise InvalidRecord(f"the role {name} is built in and cannot be changed")
