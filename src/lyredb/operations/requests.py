"""What an administrator can ask of a data directory, as typed values.

The same values are done in this process when no server runs, and travel to the server as
lines of JSON (`lyredb.server.control`) when one does. `decode_request` refuses whatever
has another form, so that what is done with one need not check types.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import msgspec

from lyredb.errors import InvalidBody
from lyredb.operations.broker_requests import BrokerRequest


class _Request(
    msgspec.Struct, frozen=True, tag_field="operation", forbid_unknown_fields=True, rename="camel"
):
    """Has its name in ``operation``."""


class ListUsers(_Request, frozen=True, tag="user.list"):
    """All users, without passwords."""


class AddUser(_Request, frozen=True, tag="user.add"):
    """Make a user that must not exist."""

    name: str
    password: str
    role: str
    active: bool = True

    def __repr__(self) -> str:
        return f"AddUser({self.name!r}, role={self.role!r})"


class ChangeUser(_Request, frozen=True, tag="user.change"):
    """Change what is given of a user that exists."""

    name: str
    password: str | None = None
    role: str | None = None
    active: bool | None = None

    def __repr__(self) -> str:
        return f"ChangeUser({self.name!r}, role={self.role!r}, active={self.active!r})"


class RemoveUser(_Request, frozen=True, tag="user.remove"):
    """Delete a user that exists."""

    name: str


class ImportedUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user of another broker.

    Attributes:
        name: As there.
        hash: Of the password, in a form that can be checked here.
        role: A role that exists.
    """

    name: str
    hash: str
    role: str

    def __repr__(self) -> str:
        return f"ImportedUser({self.name!r}, role={self.role!r})"


class ImportUsers(_Request, frozen=True, tag="user.import"):
    """Make users with hashes that another broker made, in one transaction.

    Super users that exist are never replaced.

    Attributes:
        users: Each name once.
        replacing: Replace others that exist, instead of leaving them as they are.
    """

    users: list[ImportedUser]
    replacing: bool = False


class ListRoles(_Request, frozen=True, tag="role.list"):
    """All roles with their definitions, the built-in one first."""


class PutRoles(_Request, frozen=True, tag="role.put"):
    """Define roles or replace their definitions; those that are not named stay.

    All are checked before the first is written.

    Attributes:
        roles: By name, in the form of ``roles.yaml``.
    """

    roles: dict[str, Any]


class RemoveRole(_Request, frozen=True, tag="role.remove"):
    """Delete a role that nobody has."""

    name: str


class GetStatus(_Request, frozen=True, tag="status"):
    """How the server is."""


class DescribeTable(_Request, frozen=True, tag="import.table"):
    """What an import has to know of a table.

    Attributes:
        table: ``<database>.<table>``.
    """

    table: str


class GetImportState(_Request, frozen=True, tag="import.state"):
    """How far an import is.

    Attributes:
        name: Of its row.
    """

    name: bytes


class WriteRows(_Request, frozen=True, tag="import.write"):
    """Commit transactions of an import in their order, behind what clients write.

    Attributes:
        parts: Of each the mutations as a MessagePack list, and name and value of the row
            that says how far the import is; an empty name for none.
        before: What that row has to be, empty for none: else another run of the same import
            is under way, or a part of an earlier one was on its way still.
    """

    parts: list[tuple[bytes, bytes, bytes]]
    before: bytes = b""

    def __repr__(self) -> str:
        return f"WriteRows({len(self.parts)} parts)"


Administrative: TypeAlias = (
    ListUsers
    | AddUser
    | ChangeUser
    | RemoveUser
    | ImportUsers
    | ListRoles
    | PutRoles
    | RemoveRole
    | GetStatus
)
"""Done with or without a server."""
ImportRequest: TypeAlias = DescribeTable | GetImportState | WriteRows
"""Done by a server only: without one the import opens the data itself."""
Request: TypeAlias = Administrative | ImportRequest | BrokerRequest

_requests: Final = msgspec.json.Decoder(Request)


class UserEntry(msgspec.Struct, frozen=True):
    """A user as it is told."""

    name: str
    role: str
    active: bool


class RoleEntry(msgspec.Struct, frozen=True, rename="camel"):
    """A role as it is told; its definition is in the form of ``roles.yaml``."""

    name: str
    super_user: bool
    definition: dict[str, Any]


class Changed(msgspec.Struct, frozen=True):
    """A change is on disk, and everybody decides by it.

    Attributes:
        position: The log position that contains it.
    """

    position: int


class UsersImported(msgspec.Struct, frozen=True):
    """Users of another broker are on disk.

    Attributes:
        position: The log position that contains them.
        written: Names of those that were written; the others were there already.
    """

    position: int
    written: list[str]


class TableDescription(msgspec.Struct, frozen=True, rename="camel"):
    """What an import has to know of a table: its rows in the store, and a limit."""

    slot: int
    schema: bytes
    layout: bytes
    max_record_bytes: int


class StateRow(msgspec.Struct, frozen=True):
    """A row that says how far an import is, ``None`` when there is none."""

    row: bytes | None


class RowsWritten(msgspec.Struct, frozen=True):
    """Of each transaction the name of its error and a sentence, both empty when it is on disk."""

    results: list[tuple[str, str]]


def encode_request(request: Request) -> bytes:
    """Return a request as JSON."""
    return msgspec.json.encode(request)


def decode_request(line: bytes) -> Request:
    """Return the request of a JSON text.

    Raises:
        InvalidBody: It is none.
    """
    try:
        request: Request = _requests.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidBody(f"no request: {error}") from error
    return request
