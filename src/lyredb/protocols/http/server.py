"""The HTTP port: one listening socket served by uvicorn inside of our own loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from lyredb.plugins.scope import Address
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.draining import Draining
from lyredb.protocols.http.guard import Guard
from lyredb.protocols.http.health import Health
from lyredb.protocols.http.limits import HttpLimits
from lyredb.protocols.http.listen import BACKLOG
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.router import Router
from lyredb.protocols.http.static import StaticFiles
from lyredb.protocols.http.statistics import HttpStatistics
from lyredb.protocols.http.upgrade import UpgradeFactory
from lyredb.protocols.http.websocket import WebSocketConnection

HEALTH_PRIORITY: Final = 100
STATIC_PRIORITY: Final = -10
"""Tables win over files, files win over open topics and over 404."""

_HEADERS: Final = [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]

_CUT_OFF_S: Final = 0.5
"""Of the deadline of a stop, for what has to be cancelled; less of a short one."""

logger: Final = logging.getLogger("lyredb.http")


class _Uvicorn(uvicorn.Server):
    """uvicorn without signals, with our shared state and its sweep."""

    def __init__(self, config: uvicorn.Config, port: Port) -> None:
        super().__init__(config)
        self.server_state: Port = port
        self.is_up = asyncio.Event()
        self._swept_s = 0.0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the lifecycle of the server owns them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell."""
        await self.on_tick(0)  # the default headers, before the first request
        await super().startup(sockets)
        self.is_up.set()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        should_exit = await super().on_tick(counter)
        port = self.server_state
        if counter % 10 == 0:
            port.remake_head()
        now = asyncio.get_running_loop().time()
        if now - self._swept_s >= port.limits.sweep_s:
            self._swept_s = now
            port.sweep(now)
        return should_exit


class HttpServer:
    """One HTTP port, from bound to stopped (implements ``plugins.scope.HttpMounts``).

    Attributes:
        stopping: Makes ``/health`` say so; set it as soon as the end is near.

    Args:
        listener: From `bind_socket`.
        limits: Every bound.
        authentication: Who logs upgrades in; ``None`` for a port without users.
        health: Returns what is wrong with the node, ``""`` for nothing.
        lack: Returns what keeps the node from writing only, ``""`` for nothing.
        web: A folder of files to serve.
    """

    def __init__(
        self,
        listener: socket.socket,
        limits: HttpLimits,
        *,
        authentication: Authentication | None = None,
        health: Callable[[], str] = lambda: "",
        lack: Callable[[], str] = lambda: "",
        web: Path | None = None,
    ) -> None:
        host, port = listener.getsockname()[:2]
        self.address: Final = Address("http", host, port)
        self.stopping = False
        self._listener = listener
        self._health = health
        self._router = Router(problem_details=limits.problem_details)
        self._port = Port(limits, authentication)
        self._uvicorn: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None
        self._port.answer_now = self._router.answer_now
        state = Health(self._problem, lack)
        self.mount("health", state.wants, state.answer, priority=HEALTH_PRIORITY)
        if web is not None and web.is_dir():
            files = StaticFiles(web)
            self.mount("static", files.wants, files.answer, priority=STATIC_PRIORITY)

    def mount(
        self,
        name: str,
        predicate: Callable[..., bool],
        handler: Callable[..., Awaitable[None]],
        *,
        priority: int = 0,
        now: Callable[..., bool] | None = None,
    ) -> None:
        """See `Router.mount`."""
        self._router.mount(name, predicate, handler, priority=priority, now=now)

    def upgrade(self, subprotocol: str, factory: Callable[..., object]) -> None:
        """See ``lyredb.protocols.http.upgrade``."""
        self._port.upgrades[subprotocol] = cast(UpgradeFactory, factory)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._port.connections)

    def statistics(self) -> HttpStatistics:
        """What the port has and has done; see `HttpStatistics`."""
        return self._port.statistics()

    async def start(self) -> None:
        """Accept connections; returns once it does."""
        self._uvicorn = _Uvicorn(self._config(), self._port)
        self._serving = asyncio.create_task(self._uvicorn.serve([self._listener]))
        up = asyncio.create_task(self._uvicorn.is_up.wait())
        await asyncio.wait((up, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
            await self._serving  # raises what went wrong

    async def stop(self, deadline_s: float) -> None:
        """Accept nothing more, finish answers in flight, close; within the deadline.

        Peers that take nothing of what waits for them are cut off earlier, see
        `Draining`. What still runs at the end is cancelled and cut off.
        """
        self.stopping = True
        if self._uvicorn is None or self._serving is None:
            self._listener.close()
            return
        self._uvicorn.should_exit = True
        draining = asyncio.create_task(Draining(self._port).run())
        within_s = max(deadline_s * 0.6, deadline_s - _CUT_OFF_S)
        try:
            await asyncio.wait((self._serving,), timeout=within_s)
        finally:
            draining.cancel()
        self._serving.cancel()
        await asyncio.gather(draining, self._cut_off(), self._serving, return_exceptions=True)

    async def _cut_off(self) -> None:
        """End what outlived the deadline: our tasks are awaited, whatever they do."""
        assert self._uvicorn is not None, "started"
        for listening in self._uvicorn.servers:
            listening.close()
        if self._port.connections:
            logger.warning("stopping: %d connections are cut off", len(self._port.connections))
        tasks = [*self._port.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._port.connections):
            connection.transport.abort()

    def _problem(self) -> str:
        return "the server is shutting down" if self.stopping else self._health()

    def _config(self) -> uvicorn.Config:
        limits = self._port.limits
        return uvicorn.Config(
            cast(Any, self._router),
            http=cast(Any, Guard),
            ws=cast(Any, WebSocketConnection),
            loop="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            headers=_HEADERS,
            backlog=BACKLOG,
            ws_max_size=limits.max_message_bytes,
            ws_ping_interval=limits.ping_interval_s,
            ws_ping_timeout=limits.ping_timeout_s,
            ws_per_message_deflate=limits.deflate,
        )
