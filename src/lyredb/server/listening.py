"""What a listener that cannot listen says to its operator."""

from __future__ import annotations

import errno

from lyredb.errors import SettingError
from lyredb.plugins.settings import Setting


def listen_error(error: OSError, row: Setting, *, host: str, port: int) -> SettingError:
    """Return the sentence for a failed bind, naming the setting that would help.

    Args:
        error: As raised.
        row: Of the port.
        host: The address to listen on.
        port: The port to listen on.
    """
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
