"""Telling systemd how the server stands (``Type=notify``): sd_notify(3), the protocol only."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

VARIABLE: Final = "NOTIFY_SOCKET"

_logger: Final = logging.getLogger(__name__)


class ServiceManager:
    """Whoever has started us and wants to know, if anybody does.

    Args:
        environment: Of this process.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get(VARIABLE, "")
        # "@" is how an address in the abstract namespace is written.
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def ready(self, status: str) -> None:
        """Connections are accepted; also the end of a reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Settings are being read again, until `ready`."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _logger.warning("the service manager cannot be told: %s", error)
