"""The HTTP port: listening sockets, plain and for TLS, served by uvicorn in our own loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from lyredb.plugins.network import ClientCertificates, Network, Peer, Serving
from lyredb.plugins.scope import Address
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.cors import Cors
from lyredb.protocols.http.draining import Draining
from lyredb.protocols.http.guard import Guard
from lyredb.protocols.http.health import PATH as HEALTH_PATH
from lyredb.protocols.http.health import Health
from lyredb.protocols.http.limits import HttpLimits
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.request import SERVER, Request
from lyredb.protocols.http.router import Router
from lyredb.protocols.http.session_root import PATH as SESSION_PATH
from lyredb.protocols.http.session_root import SessionRoot
from lyredb.protocols.http.static import StaticFiles
from lyredb.protocols.http.statistics import HttpStatistics
from lyredb.protocols.http.token_root import PATH as TOKEN_PATH
from lyredb.protocols.http.token_root import TokenRoot
from lyredb.protocols.http.upgrade import UpgradeFactory
from lyredb.protocols.http.websocket import WebSocketConnection

PREFLIGHT_PRIORITY: Final = 110
HEALTH_PRIORITY: Final = 100
LOGIN_PRIORITY: Final = 90
"""Roots that begin with $ are the server's own: no table or topic has them."""
STATIC_PRIORITY: Final = -10
"""Tables win over files, files win over open topics and over 404."""

_HEADERS: Final = [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]

_HSTS: Final = ("strict-transport-security", "max-age=31536000")
"""For a year, as usual. Only where there is no plain port: a browser would keep from then on to
TLS for the whole host, and turn the plain port's URLs into ones that nobody answers."""

_CUT_OFF_S: Final = 0.5
"""Of the deadline of a stop, for what has to be cancelled; less of a short one."""

_LEAST_TICK_S: Final = 0.1
"""Between two looks at deadlines, however short these are."""

logger: Final = logging.getLogger("lyredb.http")


_Listen = Callable[[Callable[[Peer], asyncio.Protocol]], Awaitable[list[Serving]]]


class _Uvicorn(uvicorn.Server):
    """uvicorn without signals, with our listeners, our shared state and its sweep."""

    def __init__(self, config: uvicorn.Config, port: Port, listen: _Listen) -> None:
        super().__init__(config)
        self.server_state: Port = port
        self.is_up = asyncio.Event()
        self._listen = listen
        self._ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: the lifecycle of the server owns them."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and tell. uvicorn's own knows neither peers nor TLS as we have it."""
        await self.on_tick(0)  # the default headers, before the first request
        await self.lifespan.startup()
        self.servers = cast("list[asyncio.base_events.Server]", await self._listen(self._connect))
        self.started = True
        self.is_up.set()

    def _connect(self, peer: Peer) -> Guard:
        return Guard(self.config, self.server_state, self.lifespan.state, peer=peer)

    async def main_loop(self) -> None:
        """Tick when something is due. uvicorn's own does ten times a second, for nothing."""
        every_s = max(_LEAST_TICK_S, self.server_state.limits.sweep_s)
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._ending.wait()

    async def on_tick(self, counter: int) -> bool:
        """Make the headers of this second, and look at deadlines."""
        should_exit = await super().on_tick(counter)
        self.server_state.remake_head()
        self.server_state.sweep(asyncio.get_running_loop().time())
        return should_exit

    def end(self) -> None:
        """Accept nothing more, and end what is open."""
        self.should_exit = True
        self._ending.set()


class HttpServer:
    """HTTP, from bound sockets to the end (implements ``plugins.scope.HttpMounts``).

    Attributes:
        addresses: Where it can be reached, plain ones first.
        network: As given.
        stopping: Makes ``/health`` say so; set it as soon as the end is near.

    Args:
        listeners: Bound, listening sockets, see `bind_socket`.
        limits: Every bound.
        network: Who is let in, and TLS.
        secure: Sockets for HTTPS; one of these or of ``listeners`` there has to be.
        client_certificates: Whether clients of ``secure`` are asked for one.
        is_proxied: Whether the PROXY protocol is spoken here when it is anywhere.
        worker: The number of this worker, which ``/health`` tells; 0 when there are none.
        tell_worker: Tell the number in a header of every answer too.
        authentication: Who logs upgrades in; ``None`` for a port without users.
        health: Returns what is wrong with the node, ``""`` for nothing.
        lack: Returns what keeps the node from writing only, ``""`` for nothing.
        web: A folder of files to serve.
        cors: Which pages of other origins may read answers.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        limits: HttpLimits,
        *,
        network: Network,
        secure: Sequence[socket.socket] = (),
        client_certificates: ClientCertificates = "false",
        is_proxied: bool = True,
        worker: int = 0,
        tell_worker: bool = False,
        authentication: Authentication | None = None,
        health: Callable[[], str] = lambda: "",
        lack: Callable[[], str] = lambda: "",
        web: Path | None = None,
        cors: Cors | None = None,
    ) -> None:
        self.addresses: Final = (
            *(Address("http", *one.getsockname()[:2]) for one in listeners),
            *(Address("https", *one.getsockname()[:2]) for one in secure),
        )
        self.stopping = False
        self.network: Final = network
        self._plain = list(listeners)
        self._secure = list(secure)
        self._client_certificates: ClientCertificates = client_certificates
        self._is_proxied = is_proxied
        self._headers = [*_HEADERS]
        if not listeners:
            self._headers.append(_HSTS)
        if tell_worker:
            self._headers.append(("x-lyredb-worker", str(worker)))
        self._health = health
        challenge = None if authentication is None else authentication.challenge
        self._router = Router(problem_details=limits.problem_details, challenge=challenge)
        self._port = Port(limits, authentication, cors)
        self._uvicorn: _Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None
        self._port.answer_now = self._router.answer_now
        self._port.body_limit = self._router.body_limit
        state = Health(self._problem, lack, worker)
        for_server = _is_for_server, _answer_for_server
        self.mount("server", *for_server, priority=HEALTH_PRIORITY, roots=("",))
        for_health = state.wants, state.answer
        self.mount("health", *for_health, priority=HEALTH_PRIORITY, roots=(HEALTH_PATH,))
        if cors is not None:
            self.mount("preflight", cors.wants, cors.answer, priority=PREFLIGHT_PRIORITY)
        if authentication is not None:
            self._mount_logins(authentication)
        if web is not None and web.is_dir():
            files = StaticFiles(web)
            self.mount("static", files.wants, files.answer, priority=STATIC_PRIORITY)

    def _mount_logins(self, authentication: Authentication) -> None:
        if authentication.sessions is not None:
            session = SessionRoot(authentication, authentication.sessions)
            for_session = session.wants, session.answer
            self.mount("session", *for_session, priority=LOGIN_PRIORITY, roots=(SESSION_PATH,))
        if authentication.tokens is not None:
            token = TokenRoot(authentication, authentication.tokens)
            for_token = token.wants, token.answer
            self.mount("token", *for_token, priority=LOGIN_PRIORITY, roots=(TOKEN_PATH,))

    def mount(
        self,
        name: str,
        predicate: Callable[..., bool],
        handler: Callable[..., Awaitable[None]],
        *,
        priority: int = 0,
        now: Callable[..., bool] | None = None,
        body_limit: Callable[..., int] | None = None,
        roots: tuple[str, ...] | None = None,
    ) -> None:
        """See `Router.mount`."""
        self._router.mount(
            name,
            predicate,
            handler,
            priority=priority,
            now=now,
            body_limit=body_limit,
            roots=roots,
        )

    def upgrade(self, subprotocol: str, factory: Callable[..., object]) -> None:
        """See ``lyredb.protocols.http.upgrade``."""
        self._port.upgrades[subprotocol] = cast(UpgradeFactory, factory)

    @property
    def authentication(self) -> Authentication | None:
        """Who asks; ``None`` on a port without users."""
        return self._port.authentication

    @property
    def address(self) -> Address:
        """The first of `addresses`."""
        return self.addresses[0]

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._port.connections)

    def statistics(self) -> HttpStatistics:
        """What the port has and has done; see `HttpStatistics`."""
        return self._port.statistics()

    async def start(self) -> None:
        """Accept connections; returns once it does."""
        self._uvicorn = _Uvicorn(self._config(), self._port, self._listen)
        self._serving = asyncio.create_task(self._uvicorn.serve(self._sockets))
        up = asyncio.create_task(self._uvicorn.is_up.wait())
        await asyncio.wait((up, self._serving), return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            up.cancel()
            await self._serving  # raises what went wrong

    @property
    def _sockets(self) -> list[socket.socket]:
        return self._plain + self._secure

    async def _listen(self, connect: Callable[[Peer], asyncio.Protocol]) -> list[Serving]:
        serve = self.network.serve
        plain = [await serve(one, connect, is_proxied=self._is_proxied) for one in self._plain]
        return plain + [
            await serve(
                one,
                connect,
                certificates=self._client_certificates,
                is_proxied=self._is_proxied,
            )
            for one in self._secure
        ]

    async def stop(self, deadline_s: float) -> None:
        """Accept nothing more, finish answers in flight, close; within the deadline.

        Peers that take nothing of what waits for them are cut off earlier, see
        `Draining`. What still runs at the end is cancelled and cut off.
        """
        self.stopping = True
        if self._uvicorn is None or self._serving is None:
            for one in self._sockets:
                one.close()
            return
        self._uvicorn.end()
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
            headers=self._headers,
            ws_max_size=limits.max_message_bytes,
            ws_ping_interval=limits.ping_interval_s,
            ws_ping_timeout=limits.ping_timeout_s,
            ws_per_message_deflate=limits.deflate,
        )


def _is_for_server(request: Request) -> bool:
    path: bytes = request.scope["raw_path"]
    return path == SERVER


async def _answer_for_server(request: Request) -> None:
    """Answer ``OPTIONS *``: a ping, as what is allowed is told by each path (RFC 9110 §9.3.7)."""
    request.respond(204)
