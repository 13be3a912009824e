"""Roles without a store, for `lyredb.resources.access.Access`."""

from __future__ import annotations

from lyredb.security.rights import NO_RIGHTS, RIGHTS, RoleDefinition, TableRights
from lyredb.security.topics import TopicRules


def rights_of(**given: bool) -> TableRights:
    """The rights that are named, on all attributes."""
    return TableRights(*(given.get(right, False) for right in RIGHTS))


class FixedRoles:
    """Knows the definitions that it was given."""

    changes = 0

    def __init__(self, *definitions: RoleDefinition) -> None:
        self._by_name = {one.name: one for one in definitions}

    def rights(self, role: str, table: str) -> TableRights:
        definition = self._by_name.get(role)
        database, _, name = table.partition(".")
        return NO_RIGHTS if definition is None else definition.rights(database, name)

    def topics(self, role: str) -> TopicRules | None:
        return self._by_name[role].topics if role in self._by_name else None

    def is_super_user(self, role: str) -> bool:
        return role in self._by_name and self._by_name[role].super_user

    def changed_at(self) -> int:
        return 0


NO_ROLES = FixedRoles()
