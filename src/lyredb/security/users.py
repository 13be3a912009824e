"""User records: rows of ``system.user``, read in place and written like any record.

A record's body is ``{password, role, active}``, the password as an argon2id hash, or as
one of another broker until its user logs in (`lyredb.security.mosquitto_hashes`). Each
change is one transaction of the record, the end of the user's web sessions where it ends
them, and an access entry with the user's name and why logins are void now. So whoever
remembers something of a user (the tail tells it) forgets it in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from lyredb.errors import InvalidRecord, LastSuperUser, RecordExists, RecordNotFound
from lyredb.security.changes import MAX_NAME_BYTES, change, is_name
from lyredb.security.principals import Role, role_named
from lyredb.security.role_rows import role_in, roles_in, super_roles
from lyredb.security.session_rows import removals_of
from lyredb.storage.body import load_body, pack_body
from lyredb.storage.engine import Engine
from lyredb.storage.keys import decode_key, encode_key
from lyredb.storage.layout import USER_SLOT
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import decode_header
from lyredb.storage.sequencer import Sequencer
from lyredb.storage.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class User:
    """One user.

    Attributes:
        name: 1 to `MAX_NAME_BYTES` bytes of UTF-8, no colon (Basic credentials end
            there, RFC 7617 §2) and no control characters.
        password: argon2id hash, PHC string format, or one from a mosquitto password file.
            Does not print.
        role: Name of the role.
        active: An inactive user exists and cannot log in.
        version: Of the record, 0 for one that is not stored. Whatever was issued to
            another version, a token or a cookie, is void.
    """

    name: str
    password: str = field(repr=False)
    role: str = "super_user"
    active: bool = True
    version: int = field(default=0, compare=False)

    @property
    def principal(self) -> Role:
        """The role's decision class."""
        return role_named(self.role)


class UserDirectory(Protocol):
    """What an authenticator needs to know of users."""

    def find(self, name: str) -> User | None:
        """Return the user of this name."""


class Users:
    """The user records of a node.

    Args:
        engine: Where they are read.
        sequencer: Where changes go.
    """

    def __init__(self, engine: Engine, sequencer: Sequencer) -> None:
        self._engine = engine
        self._sequencer = sequencer

    def find(self, name: str) -> User | None:
        """Return the user of this name, as last committed."""
        if not is_name(name):
            return None
        with self._engine.snapshot() as snapshot:
            return user_in(snapshot, name)

    def all(self) -> tuple[User, ...]:
        """Return all users by name, as last committed."""
        with self._engine.snapshot() as snapshot:
            return tuple(users_in(snapshot))

    def is_empty(self) -> bool:
        """Tell whether there is no user at all, as in a new data directory."""
        with self._engine.snapshot() as snapshot:
            return next(users_in(snapshot), None) is None

    async def put(self, user: User, *, must_be_new: bool = False) -> int:
        """Write a user. On return it is on disk.

        Returns:
            The log position that contains the change.

        Raises:
            InvalidRecord: The name cannot be one, or there is no such role.
            RecordExists: ``must_be_new``, and there is one of this name.
            LastSuperUser: There would be no active super user any more.
            StorageError, Overloaded: As every write.
        """
        _require_name(user.name)

        def become(before: User | None) -> User:
            if must_be_new and before is not None:
                raise RecordExists(f"there is a user {user.name} already")
            return user

        return await self._change(user.name, become)

    async def update(
        self,
        name: str,
        *,
        password: str | None = None,
        role: str | None = None,
        active: bool | None = None,
    ) -> int:
        """Change what is given of a user; the rest stays, whoever else changes it.

        Args:
            name: Of the user.
            password: argon2id hash.
            role: Name of a role.
            active: Whether the user can log in.

        Raises:
            RecordNotFound: There is no such user.
            InvalidRecord, LastSuperUser, StorageError, Overloaded: As `put`.
        """

        def become(before: User | None) -> User:
            if before is None:
                raise RecordNotFound(f"there is no user {name[:60]!r}")
            return replace(
                before,
                password=before.password if password is None else password,
                role=before.role if role is None else role,
                active=before.active if active is None else active,
            )

        return await self._change(name, become)

    async def rehash(self, name: str, before: str, after: str) -> int:
        """Store another hash of the password that a user has; logins of now stay good.

        Args:
            name: Of the user.
            before: The hash that it takes the place of; one that changed meanwhile stays.
            after: argon2id hash of the same password.

        Raises:
            StorageError, Overloaded: As every write.
        """

        def plan(snapshot: Snapshot) -> tuple[Mutation, ...]:
            user = user_in(snapshot, name)
            if user is None or user.password != before:
                return ()
            return (_record(name, replace(user, password=after)), _notice(name, ""))

        return await change(self._engine, self._sequencer, plan)

    async def add_all(self, users: Sequence[User], *, replacing: bool) -> tuple[int, list[str]]:
        """Write users in one transaction; who may administer the server is not touched.

        Args:
            users: With hashes of any known form, each name once.
            replacing: Replace those that exist, or leave them as they are.

        Returns:
            The log position that contains them, and the names of those that were written.

        Raises:
            InvalidRecord: A name cannot be one, or there is no such role; nothing was written.
            StorageError, Overloaded: As every write.
        """
        for user in users:
            _require_name(user.name)
        written: list[str] = []

        def plan(snapshot: Snapshot) -> list[Mutation]:
            written.clear()
            supers = super_roles(snapshot)
            mutations: list[Mutation] = []
            for user in users:
                before = user_in(snapshot, user.name)
                _require_role(snapshot, user.role)
                if before is not None and (not replacing or before.role in supers):
                    continue
                if before != user:
                    mutations += _changes_of(snapshot, user.name, before, user)
                    written.append(user.name)
            return mutations

        position = await change(self._engine, self._sequencer, plan)
        return position, list(written)

    async def delete(self, name: str) -> int:
        """Delete a user, who may be gone already, and the user's web sessions.

        Raises:
            LastSuperUser: There would be no active super user any more.
        """
        if not is_name(name):
            return self._engine.position
        return await self._change(name, lambda before: None)

    async def _change(self, name: str, become: Callable[[User | None], User | None]) -> int:
        def plan(snapshot: Snapshot) -> tuple[Mutation, ...]:
            before = user_in(snapshot, name)
            after = become(before)
            if after == before:
                return ()
            if after is not None:
                _require_role(snapshot, after.role)
            _require_super_user(snapshot, before, after)
            return _changes_of(snapshot, name, before, after)

        return await change(self._engine, self._sequencer, plan)


def user_in(snapshot: Snapshot, name: str) -> User | None:
    """Return the user of this name."""
    stored = snapshot.get(USER_SLOT, encode_key(name)) if is_name(name) else None
    return None if stored is None else _decode(name, stored)


def users_in(snapshot: Snapshot) -> Iterator[User]:
    """Yield all users by name."""
    for key, stored in snapshot.scan(USER_SLOT):
        yield _decode(str(decode_key(key)), stored)


def has_super_user(users: Iterable[User], roles: frozenset[str]) -> bool:
    """Tell whether somebody can log in who has one of these roles."""
    return any(user.active and user.role in roles for user in users)


def _require_super_user(snapshot: Snapshot, before: User | None, after: User | None) -> None:
    roles = super_roles(snapshot)
    if before is None or not has_super_user((before,), roles):
        return
    if after is not None and has_super_user((after,), roles):
        return
    others = (user for user in users_in(snapshot) if user.name != before.name)
    if not has_super_user(others, roles):
        raise LastSuperUser(f"{before.name} is the last active super user")


def _require_name(name: str) -> None:
    if not is_name(name):
        raise InvalidRecord(
            f"a user name must have 1 to {MAX_NAME_BYTES} bytes, "
            "without colon and control characters"
        )


def _require_role(snapshot: Snapshot, name: str) -> None:
    if role_in(snapshot, name) is None:
        known = ", ".join(role.name for role in roles_in(snapshot))
        raise InvalidRecord(f"there is no role {name[:60]!r}; roles are {known}")


def _changes_of(
    snapshot: Snapshot, name: str, before: User | None, after: User | None
) -> tuple[Mutation, ...]:
    """The record, the end of web sessions where logins are void, and the notice of it."""
    reason = _end_of_logins(before, after)
    ended = removals_of(snapshot, name) if reason else ()
    return (_record(name, after), *ended, _notice(name, reason))


def _end_of_logins(before: User | None, after: User | None) -> str:
    """Return why logins from before a change are void, ``""`` when there can be none."""
    if before is None or not before.active:
        return ""
    if after is None:
        return f"the user {before.name} was deleted"
    if not after.active:
        return f"the user {before.name} was deactivated"
    if after.role != before.role:
        return f"the user {before.name} got another role"
    return f"the user {before.name} got another password"


def _record(name: str, user: User | None) -> Mutation:
    key = encode_key(name)
    if user is None:
        return Mutation(USER_SLOT, key, Kind.DELETE)
    body = {"active": user.active, "password": user.password, "role": user.role}
    return Mutation(USER_SLOT, key, Kind.PUT, pack_body(body))


def _notice(name: str, reason: str) -> Mutation:
    """The access entry: it carries why logins are void, as text."""
    return Mutation(USER_SLOT, name.encode(), Kind.ACCESS, reason.encode())


def _decode(name: str, stored: bytes) -> User:
    header = decode_header(stored)
    body = load_body(stored[header.body_offset :])
    return User(
        name=name,
        password=str(body.get("password", "")),
        role=str(body.get("role", "")),
        active=body.get("active") is True,
        version=header.version,
    )
