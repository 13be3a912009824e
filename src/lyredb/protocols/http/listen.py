"""Taking a TCP port, and saying clearly when somebody else has it."""

from __future__ import annotations

import errno
import os
import socket

from lyredb.protocols.net.network import BACKLOG

__all__ = ["BACKLOG", "bind_socket"]


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket, non-blocking; port 0 takes any free one.

    Bound without SO_REUSEPORT: with it a second server would silently take half of the
    connections. SO_REUSEADDR only lets a restart use a port in TIME_WAIT.

    Raises:
        OSError: The address cannot be had; the message says which one and why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        taken.listen(BACKLOG)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: no name at all
        taken.close()
        raise socket.gaierror(
            socket.EAI_NONAME, f"{host} is no address or name that this machine knows"
        ) from error
    except OSError as error:
        taken.close()
        raise OSError(error.errno, _reason(error, host, port)) from error
    taken.setblocking(False)
    return taken


def _reason(error: OSError, host: str, port: int) -> str:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is in use by another server"
        case errno.EADDRNOTAVAIL:
            return f"{where} is no address of this machine"
        case errno.EACCES:
            return f"{where} may not be used without privileges"
        case _:
            return f"{where} cannot be listened on: {os.strerror(error.errno or 0)}"
