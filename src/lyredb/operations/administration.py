"""Does what administrators ask, by the records of users and roles.

An answer to a change comes when the change is in force everywhere: it is on disk, and
every worker has been told of it. So a script that takes a right away may rely on it in
its next line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from lyredb.errors import InvalidInput, InvalidRecord, RecordNotFound, UnsupportedOperation
from lyredb.operations.requests import (
    AddUser,
    Administrative,
    Changed,
    ChangeUser,
    GetStatus,
    ImportUsers,
    ListRoles,
    ListUsers,
    PutRoles,
    RemoveRole,
    RemoveUser,
    RoleEntry,
    UserEntry,
    UsersImported,
)
from lyredb.operations.status import Status
from lyredb.security.passwords import Passwords, is_known_hash
from lyredb.security.rights import RoleDefinition, read_role
from lyredb.security.roles import Roles
from lyredb.security.users import User, Users

Answer = Changed | UsersImported | list[UserEntry] | list[RoleEntry] | Status


async def at_once(position: int) -> None:
    """Wait for nobody: there is no server that decides by what was changed."""


class Administration:
    """Users and roles of one data directory.

    Args:
        users: Its users.
        roles: Its roles.
        passwords: Hashes new ones.
        passed: Returns once every worker has been told of a log position.
        status: Tells how the server is; ``None`` without one.
    """

    def __init__(
        self,
        users: Users,
        roles: Roles,
        passwords: Passwords,
        *,
        passed: Callable[[int], Awaitable[None]] = at_once,
        status: Callable[[], Awaitable[Status]] | None = None,
    ) -> None:
        self._users = users
        self._roles = roles
        self._passwords = passwords
        self._passed = passed
        self._status = status

    async def perform(self, request: Administrative) -> Answer:
        """Do one thing, and return what there is to tell.

        Raises:
            LyreError: It was refused, or could not be written.
            TimeoutError: It is on disk, and a worker has not taken note of it yet.
        """
        match request:
            case ListUsers():
                return [UserEntry(user.name, user.role, user.active) for user in self._users.all()]
            case AddUser():
                return await self._changed(await self._add(request))
            case ChangeUser():
                return await self._changed(await self._change(request))
            case RemoveUser():
                return await self._changed(await self._remove(request.name))
            case ImportUsers():
                return await self._import(request)
            case ListRoles():
                return [_entry_of(role) for role in self._roles.all()]
            case PutRoles():
                return await self._changed(await put_roles(self._roles, request.roles))
            case RemoveRole():
                return await self._changed(await self._roles.delete(request.name))
            case GetStatus():
                return await self._tell_status()

    async def _changed(self, position: int) -> Changed:
        await self._passed(position)
        return Changed(position)

    async def _add(self, request: AddUser) -> int:
        hashed = await self._hash(request.password)
        user = User(request.name, hashed, request.role, request.active)
        return await self._users.put(user, must_be_new=True)

    async def _import(self, request: ImportUsers) -> UsersImported:
        for one in request.users:
            if not is_known_hash(one.hash):
                raise InvalidInput(f"the hash of {one.name[:60]!r} is of no known form")
        users = [User(one.name, one.hash, one.role) for one in request.users]
        position, written = await self._users.add_all(users, replacing=request.replacing)
        await self._passed(position)
        return UsersImported(position, written)

    async def _change(self, request: ChangeUser) -> int:
        hashed = None if request.password is None else await self._hash(request.password)
        return await self._users.update(
            request.name, password=hashed, role=request.role, active=request.active
        )

    async def _remove(self, name: str) -> int:
        if self._users.find(name) is None:
            raise RecordNotFound(f"there is no user {name[:60]!r}")
        return await self._users.delete(name)

    async def _hash(self, password: str) -> str:
        try:
            return await self._passwords.hash(password)
        except ValueError as error:
            raise InvalidInput(str(error)) from error

    async def _tell_status(self) -> Status:
        if self._status is None:
            raise UnsupportedOperation("no server runs here")
        return await self._status()


async def put_roles(roles: Roles, definitions: Mapping[str, object]) -> int:
    """Set roles one after the other, once all of them are known to be right.

    Args:
        roles: Where.
        definitions: By name, in the form of ``roles.yaml``.

    Returns:
        The log position that contains all of them, 0 when there are none.

    Raises:
        InvalidRecord: With the problems of all definitions; nothing was written.
        LastSuperUser, StorageError: Those before it are written.
    """
    read: list[RoleDefinition] = []
    problems: list[str] = []
    for name, definition in definitions.items():
        try:
            read.append(read_role(name, definition))
        except InvalidRecord as error:
            problems += error.problems
    if problems:
        raise InvalidRecord(*problems)
    position = 0
    for one in read:
        position = max(position, await roles.put(one))
    return position


def _entry_of(role: RoleDefinition) -> RoleEntry:
    return RoleEntry(role.name, role.super_user, role.as_mapping())
