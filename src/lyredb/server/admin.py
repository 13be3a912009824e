"""The first administrator, as the settings say."""

from __future__ import annotations

import logging
from typing import Final

from lyredb.security.first_admin import FirstAdmin, ensure_admin
from lyredb.security.passwords import Passwords
from lyredb.security.users import Users
from lyredb.server.launch import Launch

_logger: Final = logging.getLogger(__name__)


async def ensure_first_admin(
    launch: Launch, users: Users, passwords: Passwords
) -> FirstAdmin | None:
    """Make sure that somebody can log in; see `security.first_admin.ensure_admin`.

    Raises:
        SettingError: The name or password cannot be one.
        StorageError: It could not be written.
    """
    password = launch.settings.text("admin.password")
    if launch.authorize_local and not password:
        return None  # dev needs none, and should start at once
    admin = await ensure_admin(
        users,
        passwords,
        launch.data_dir,
        name=launch.settings.text("admin.username"),
        password=password,
    )
    if admin is not None:
        where = f", its password is in {admin.password_file}" if admin.password_file else ""
        _logger.info("made the administrator %s%s", admin.name, where)
    return admin
