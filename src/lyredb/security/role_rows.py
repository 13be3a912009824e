"""Role records as they are stored: the body is the definition as a MessagePack map."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from lyredb.errors import InvalidRecord
from lyredb.security.changes import REVISION, is_name
from lyredb.security.principals import SUPER_USER
from lyredb.security.rights import RoleDefinition, read_role
from lyredb.storage.body import load_body, pack_body
from lyredb.storage.keys import decode_key, encode_key
from lyredb.storage.layout import ROLE_SLOT
from lyredb.storage.record import body_offset_of
from lyredb.storage.snapshot import Snapshot

BUILT_IN: Final = RoleDefinition(SUPER_USER.name, super_user=True)
"""There is always somebody who may do everything."""

_logger: Final = logging.getLogger(__name__)


def role_in(snapshot: Snapshot, name: str) -> RoleDefinition | None:
    """Return the role of this name, ``None`` when it is not defined."""
    if name == BUILT_IN.name:
        return BUILT_IN
    if not is_name(name):
        return None
    stored = snapshot.get(ROLE_SLOT, encode_key(name))
    return None if stored is None else unpack_role(name, stored[body_offset_of(stored) :])


def roles_in(snapshot: Snapshot) -> Iterator[RoleDefinition]:
    """Yield the built-in role, then the defined ones by name."""
    yield BUILT_IN
    for key, stored in snapshot.scan(ROLE_SLOT):
        name = str(decode_key(key))
        if name != REVISION:
            yield unpack_role(name, stored[body_offset_of(stored) :])


def super_roles(snapshot: Snapshot) -> frozenset[str]:
    """Return the names of the roles whose users may do everything."""
    return frozenset(role.name for role in roles_in(snapshot) if role.super_user)


def pack_role(definition: RoleDefinition) -> bytes:
    """Return the body of a role's record."""
    return pack_body(definition.as_mapping())


def unpack_role(name: str, body: bytes) -> RoleDefinition:
    """Return what a body says; one that cannot be understood gives no rights.

    A later version may have written it: to stop here would leave the rights as they
    were before, which is worse than none.
    """
    try:
        return read_role(name, load_body(body))
    except InvalidRecord as error:
        _logger.error("the role %s has no rights, its record cannot be read: %s", name, error)
        return RoleDefinition(name)
