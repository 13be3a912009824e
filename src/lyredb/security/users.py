"""User records: rows of ``system.user``, read in place and written like any record.

A record's body is ``{password, role, active}``, the password as an argon2id hash. Each
change is one transaction of the record and an access entry with the user's name, so
that whoever remembers something of a user (the tail tells it) forgets it in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from lyredb.errors import InvalidRecord
from lyredb.security.principals import Role, role_named
from lyredb.storage.body import load_body, pack_body
from lyredb.storage.engine import Engine
from lyredb.storage.entry import Entry
from lyredb.storage.keys import encode_key
from lyredb.storage.layout import USER_SLOT
from lyredb.storage.mutation import Kind, Mutation, Precondition
from lyredb.storage.record import decode_header
from lyredb.storage.writer import Writer

MAX_NAME_BYTES: Final = 255
"""Fits a key in every store and a line in every log."""


@dataclass(frozen=True, slots=True)
class User:
    """One user.

    Attributes:
        name: 1 to `MAX_NAME_BYTES` bytes of UTF-8, no colon (Basic credentials end
            there, RFC 7617 §2) and no control characters.
        password: argon2id hash, PHC string format. Does not print.
        role: Name of the role.
        active: An inactive user exists and cannot log in.
    """

    name: str
    password: str = field(repr=False)
    role: str = "super_user"
    active: bool = True

    @property
    def principal(self) -> Role:
        """The role's decision class."""
        return role_named(self.role)


class UserDirectory(Protocol):
    """What an authenticator needs to know of users."""

    def find(self, name: str) -> User | None:
        """Return the user of this name."""


class AccessTail(Protocol):
    """The tail of the log, as far as access goes (see ``delivery.tail``)."""

    def on(self, kind: Kind, handler: Callable[[Entry], None]) -> None:
        """Call the handler for each entry of a kind, before later ones are delivered."""


class Users:
    """The user records of a node."""

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer

    def find(self, name: str) -> User | None:
        """Return the user of this name, as last committed."""
        if not _is_name(name):
            return None
        with self._engine.snapshot() as snapshot:
            stored = snapshot.get(USER_SLOT, encode_key(name))
        return None if stored is None else _decode(name, stored)

    def is_empty(self) -> bool:
        """Tell whether there is no user at all, as in a new data directory."""
        with self._engine.snapshot() as snapshot:
            return next(iter(snapshot.scan(USER_SLOT)), None) is None

    async def put(self, user: User, *, must_be_new: bool = False) -> None:
        """Write a user. On return it is on disk.

        Raises:
            InvalidRecord: The name cannot be one.
            RecordExists: ``must_be_new``, and there is one of this name.
            StorageError, Overloaded: As every write.
        """
        if not _is_name(user.name):
            raise InvalidRecord(
                f"a user name must have 1 to {MAX_NAME_BYTES} bytes, "
                "without colon and control characters"
            )
        body = pack_body({"active": user.active, "password": user.password, "role": user.role})
        condition = Precondition(must_be_absent=True) if must_be_new else None
        await self._write(user.name, Kind.PUT, body, condition)

    async def delete(self, name: str) -> None:
        """Delete a user, who may be gone already."""
        if _is_name(name):
            await self._write(name, Kind.DELETE, b"", None)

    async def _write(
        self, name: str, kind: Kind, body: bytes, precondition: Precondition | None
    ) -> None:
        record = Mutation(USER_SLOT, encode_key(name), kind, body, precondition=precondition)
        notice = Mutation(USER_SLOT, name.encode(), Kind.ACCESS)
        await self._writer.commit((record, notice))


def on_user_change(tail: AccessTail, forget: Callable[[str], None]) -> None:
    """Have ``forget`` called with the name of each user whose record changes."""

    def heed(entry: Entry) -> None:
        if entry.slot == USER_SLOT:
            forget(entry.key.decode())

    tail.on(Kind.ACCESS, heed)


def _is_name(name: str) -> bool:
    if not name or ":" in name or any(ord(letter) < 0x20 or letter == "\x7f" for letter in name):
        return False
    try:
        return len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _decode(name: str, stored: bytes) -> User:
    body = load_body(stored[decode_header(stored).body_offset :])
    return User(
        name=name,
        password=str(body.get("password", "")),
        role=str(body.get("role", "")),
        active=body.get("active") is True,
    )
