"""Taking ports, and what is said to the operator when one cannot be had."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping, Sequence

from lyredb.errors import SettingError
from lyredb.plugins.scope import Settings
from lyredb.plugins.settings import OFF, Setting
from lyredb.protocols.http.listen import BACKLOG, bind_socket


class Listeners:
    """Hands out the listening sockets of port settings (``plugins.scope.Listeners``).

    Args:
        settings: In force.
        rows: Those of kind ``port``.
        inherited: Sockets by setting that the supervisor has bound for this worker;
            ``None``: bind on demand.
    """

    def __init__(
        self,
        settings: Settings,
        rows: Iterable[Setting],
        inherited: Mapping[str, Sequence[socket.socket]] | None = None,
    ) -> None:
        self._settings = settings
        self._rows = {row.name: row for row in rows if row.kind == "port"}
        self._inherited = None if inherited is None else dict(inherited)

    def __call__(self, name: str, /) -> Sequence[socket.socket]:
        """Return the sockets of a port setting, which are the caller's to close.

        Raises:
            SettingError: The port cannot be had; says why and which setting to change.
        """
        row = self._rows[name]
        if self._settings.integer(name) == OFF:
            return ()
        if self._inherited is not None:
            return self._inherited.pop(name, ())
        return (bind_row(self._settings, row),)

    def close(self) -> None:
        """Close the inherited sockets that nobody asked for."""
        for sockets in (self._inherited or {}).values():
            for one in sockets:
                one.close()


def bind_row(settings: Settings, row: Setting) -> socket.socket:
    """Return the listening socket of a port that no other server has.

    Raises:
        SettingError: It cannot be had; says why and which setting to change.
    """
    host, port = settings.text("network.host"), settings.integer(row.name)
    try:
        return bind_socket(host, port)
    except OSError as error:
        raise listen_error(error, row, host=host, port=port) from error


def bind_shared(settings: Settings, row: Setting, count: int) -> list[socket.socket]:
    """Return ``count`` listening sockets of one port, among which the system deals.

    The port is bound alone first: with SO_REUSEPORT a second server of the same user would
    silently take its share of the connections.

    Raises:
        SettingError: It cannot be had; says why and which setting to change.
    """
    first = bind_row(settings, row)
    if count == 1:
        return [first]
    address = first.getsockname()
    first.close()
    bound: list[socket.socket] = []
    try:
        for _ in range(count):
            bound.append(_bind_reusable(first.family, address))
    except OSError as error:
        for one in bound:
            one.close()
        host, port = settings.text("network.host"), int(address[1])
        raise listen_error(error, row, host=host, port=port) from error
    return bound


def _bind_reusable(family: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    one.setblocking(False)
    return one


def port_row(rows: Iterable[Setting]) -> Setting | None:
    """Return the first row of a port."""
    return next((row for row in rows if row.kind == "port"), None)


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
