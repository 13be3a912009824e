"""The bridges of a server: run by one of its workers, beside its other connections."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from lyredb.plugins.network import Peer
from lyredb.protocols.mqtt.bridge_file import Bridge
from lyredb.protocols.mqtt.listener import TcpConnection
from lyredb.protocols.mqtt.service import Service
from lyredb.security.accounts import Account

if TYPE_CHECKING:
    import paho.mqtt.client as paho

    from lyredb.protocols.mqtt.bridge import RunningBridge

RUNNERS: Final = (0, 1)
"""The numbers of the workers that run bridges: the first of several, or the only one."""

logger: Final = logging.getLogger("lyredb.mqtt")


class Bridges:
    """All bridges. `start` once, then `stop` once.

    Args:
        service: Serves their ends here.
        bridges: By name.
    """

    def __init__(self, service: Service, bridges: Mapping[str, Bridge]) -> None:
        self._service = service
        self._bridges = bridges
        self._running: list[RunningBridge] = []
        self._accepting: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        """Run them; that another broker is away is logged, and no error."""
        from lyredb.protocols.mqtt.bridge import RunningBridge  # loads paho

        loop = asyncio.get_running_loop()
        for name, bridge in self._bridges.items():
            account = self._account(bridge)
            if account is None:
                logger.error("bridge %s: there is no active user %s", name, bridge.local_user)
                continue

            def local(client_id: str, account: Account = account) -> paho.Client:
                return self._local_client(client_id, account, loop)

            running = RunningBridge(name, bridge, local)
            running.start()
            self._running.append(running)

    async def stop(self) -> None:
        """End them; their sessions stay, on both sides."""
        running, self._running = self._running, []
        await asyncio.gather(*(asyncio.to_thread(one.stop) for one in running))
        await asyncio.gather(*self._accepting, return_exceptions=True)

    def _account(self, bridge: Bridge) -> Account | None:
        authenticator = self._service.authenticator
        if not bridge.local_user:
            return authenticator.local
        return authenticator.by_name(bridge.local_user)

    def _local_client(
        self, client_id: str, account: Account, loop: asyncio.AbstractEventLoop
    ) -> paho.Client:
        from lyredb.protocols.mqtt.local_client import LocalClient

        def connect() -> socket.socket:
            """Return one end of a pair whose other end is served; in paho's thread."""
            ours, theirs = socket.socketpair()
            loop.call_soon_threadsafe(self._accept, theirs, account, loop)
            return ours

        return LocalClient(client_id, connect)

    def _accept(
        self, sock: socket.socket, account: Account, loop: asyncio.AbstractEventLoop
    ) -> None:
        sock.setblocking(False)
        task: asyncio.Task[object] = loop.create_task(
            loop.connect_accepted_socket(
                lambda: TcpConnection(self._service, Peer("bridge"), account), sock
            )
        )
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
