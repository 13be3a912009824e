"""The first administrator: somebody must be able to log in to a new data directory."""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lyredb.errors import SettingError, StorageFailed
from lyredb.security.passwords import Passwords
from lyredb.security.users import User, Users

DEFAULT_NAME: Final = "admin"
PASSWORD_FILE: Final = "admin-password"

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FirstAdmin:
    """What `ensure_admin` did.

    Attributes:
        name: The administrator.
        password_file: Where the generated password stands; ``None`` when it was given.
    """

    name: str
    password_file: Path | None


async def ensure_admin(
    users: Users, passwords: Passwords, data_dir: Path, *, name: str = "", password: str = ""
) -> FirstAdmin | None:
    """Make sure that there is a super user, and return it if it was made now.

    With a password, the user of this name (`DEFAULT_NAME` if none is given) is made
    unless it exists; the password of one that exists stays as it is. Without a
    password, and only when there is no user at all, one is generated and written to
    `PASSWORD_FILE` in the data directory, readable by its owner alone.

    Args:
        users: Where the user is written.
        passwords: Makes the hash.
        data_dir: Exists.
        name: From the settings, ``""`` for none.
        password: From the settings, ``""`` for none.

    Raises:
        SettingError: The name or password cannot be one.
        StorageFailed: The password file cannot be written; no user was made.
    """
    admin = name or DEFAULT_NAME
    if password:
        user = users.find(admin)
        if user is not None:
            await _warn_if_other(passwords, user, password)
            return None
        await _make(users, passwords, admin, password)
        return FirstAdmin(admin, None)
    if not users.is_empty():
        return None
    generated = secrets.token_urlsafe(18)
    file = data_dir / PASSWORD_FILE
    # The file first: a password that nobody can read would lock everybody out.
    try:
        _write_private(file, f"{generated}\n")
    except OSError as error:
        raise StorageFailed(f"{PASSWORD_FILE} cannot be written: {error.strerror}") from error
    await _make(users, passwords, admin, generated)
    return FirstAdmin(admin, file)


async def _warn_if_other(passwords: Passwords, user: User, password: str) -> None:
    """Say once per start that a new password in the settings is none: it looks like one."""
    if not await passwords.matches(user.password, password):
        _logger.warning(
            "admin.password is ignored: the user %s exists and keeps its password", user.name
        )


async def _make(users: Users, passwords: Passwords, name: str, password: str) -> None:
    try:
        hashed = await passwords.hash(password)
    except ValueError as error:
        raise SettingError("admin.password", str(error)) from error
    try:
        await users.put(User(name, hashed))
    except ValueError as error:  # InvalidRecord: the name
        raise SettingError("admin.username", str(error)) from error


def _write_private(path: Path, text: str) -> None:
    """Replace a file by one that only its owner can read, never readable in between."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
