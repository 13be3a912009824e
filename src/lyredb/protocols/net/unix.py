"""Listening on a Unix socket: a file that only processes of this machine can connect to."""

from __future__ import annotations

import os
import socket
import stat

from lyredb.errors import SettingError

BACKLOG = 2048
"""As for TCP."""


def bind_unix(path: str, mode: str, setting: str) -> socket.socket:
    """Return a listening socket at a path; what a dead process left there is replaced.

    Args:
        path: At most 107 bytes, as the system has it.
        mode: Permissions of the file, octal; who may write to it may connect.
        setting: Names the path in errors.

    Raises:
        SettingError: The path is in use, or no socket can be made there.
    """
    if not (mode.isascii() and mode.isdigit() and set(mode) <= set("01234567")):
        raise SettingError(setting, f"permissions are octal digits such as 660, not {mode!r}")
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _make_room(path, setting)
        before = os.umask(0o177)  # nobody else may connect before the permissions are set
        try:
            one.bind(path)
        finally:
            os.umask(before)
        os.chmod(path, int(mode, 8) & 0o777)
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        raise SettingError(setting, f"{path}: {error.strerror or error}") from error
    except SettingError:
        one.close()
        raise
    one.setblocking(False)
    return one


def _make_room(path: str, setting: str) -> None:
    """Remove the socket of a process that is gone; nothing else is removed."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise SettingError(setting, f"{path} is there, and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        try:
            other.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise SettingError(setting, f"{path} is in use by another process")
