"""Taking ports, and what is said to the operator when one cannot be had."""

from __future__ import annotations

import errno
import socket

from lyredb.errors import SettingError
from lyredb.plugins.scope import Settings
from lyredb.plugins.settings import Setting
from lyredb.protocols.http.listen import bind_socket
from lyredb.protocols.http.settings import HTTP_SETTINGS
from lyredb.server.composition import Plugin
from lyredb.server.core_settings import CORE_SETTINGS


def bind_port(settings: Settings, name: str) -> socket.socket:
    """Return a listening socket for a port setting of the core or of HTTP.

    Raises:
        SettingError: It cannot be had; says why and which setting to change.
    """
    host, port = settings.text("network.host"), settings.integer(name)
    try:
        return bind_socket(host, port)
    except OSError as error:
        row = next(row for row in (*CORE_SETTINGS, *HTTP_SETTINGS) if row.name == name)
        raise listen_error(error, row, host=host, port=port) from error


def port_row(plugin: Plugin) -> Setting | None:
    """Return the row of the port that a plugin listens on, if it has one."""
    return next((row for row in plugin.settings if row.kind == "port"), None)


def listen_error(error: OSError, row: Setting, *, host: str, port: int) -> SettingError:
    """Return the sentence for a failed bind, naming the setting that would help.

    Args:
        error: As raised.
        row: Of the port.
        host: The address to listen on.
        port: The port to listen on.
    """
    if isinstance(error, socket.gaierror):
        return SettingError("network.host", f"{error.strerror}; choose another (--host)")
    option = f" ({row.option})" if row.option else ""
    if error.errno == errno.EADDRINUSE:
        return SettingError(
            row.name, f"port {port} of {host} is in use; stop who uses it or choose another{option}"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return SettingError(
            row.name, f"this user may not listen on port {port}; choose one above 1023{option}"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return SettingError(
            "network.host", f"{host} is no address of this machine; choose another (--host)"
        )
    reason = error.strerror or str(error)
    return SettingError(row.name, f"cannot listen on port {port} of {host}: {reason}{option}")
