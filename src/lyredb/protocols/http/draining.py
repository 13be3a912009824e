"""The end of a port: who does not take what waits for it does not hold up the others."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

from lyredb.protocols.http.port import Port
from lyredb.protocols.http.stall import Stall

STUCK_S: Final = 0.5
"""How long a peer may take nothing of its last bytes, or not finish closing."""
_LOOK_S: Final = 0.1


class Ending(Protocol):
    """What is asked of the connections of a port."""

    @property
    def transport(self) -> asyncio.Transport:
        """The socket's."""

    @property
    def is_ending(self) -> bool:
        """True once only the peer can hold up the end."""


class Draining:
    """Cuts off peers that are stuck while the port stops.

    A connection whose handler still works is none of them: it has the stop's deadline.

    Args:
        port: Which accepts nothing more.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._stalls: dict[Ending, Stall] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look(self._loop.time())
            await asyncio.sleep(_LOOK_S)

    def look(self, now: float) -> None:
        """Cut off whoever has made no progress for `STUCK_S`.

        Args:
            now: The loop's time.
        """
        for connection in cast("list[Ending]", list(self._port.connections)):
            transport = connection.transport
            waiting = transport.get_write_buffer_size()
            if not waiting and not connection.is_ending:
                self._stalls.pop(connection, None)
                continue
            stall = self._stalls.setdefault(connection, Stall())
            if stall.seconds(waiting, now) >= STUCK_S:
                transport.abort()
