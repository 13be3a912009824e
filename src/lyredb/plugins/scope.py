"""What a protocol plugin is, and what it is given.

A plugin is found by the entry point group ``lyredb.protocols``; LyreDB's own
protocols are found the same way. The server makes one instance per worker with no
arguments, then calls ``prepare``, ``start`` and, at the end, ``stop``.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from lyredb.errors import LyreError
from lyredb.plugins.network import Network
from lyredb.plugins.settings import Setting, SettingValue

ResourcesT = TypeVar("ResourcesT")
AuthenticatorT = TypeVar("AuthenticatorT")


class Settings(Protocol):
    """The settings in force, read by their dotted names."""

    def flag(self, name: str) -> bool:
        """A ``flag``."""

    def integer(self, name: str) -> int:
        """An ``integer``, ``port`` or ``size`` (bytes)."""

    def seconds(self, name: str) -> float:
        """A ``duration`` in seconds."""

    def text(self, name: str) -> str:
        """A ``text`` or ``choice``."""

    def values(self) -> Mapping[str, SettingValue]:
        """All of them."""


class HttpMounts(Protocol):
    """Where a protocol that lives on the HTTP port puts its handler."""

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
        """Call ``handler`` for requests for which ``predicate`` holds.

        ``now`` answers a request that is here as a whole without waiting, where it can,
        and returns False where it cannot; then ``handler`` is called. ``body_limit`` returns
        how many bytes a request's body may have where that is more than ``http.maxBodySize``.
        With ``roots`` it is asked for paths alone whose first segment is one of them.

        Handlers are asked in descending priority, then in order of mounting; see
        ``lyredb.protocols.http.router`` for the arguments of both.
        """

    @property
    def authentication(self) -> object:
        """Who asks; ``lyredb.protocols.http.authentication_of`` gives it with its type."""

    def upgrade(self, subprotocol: str, factory: Callable[..., object]) -> None:
        """Hand WebSocket connections that offer this sub-protocol to ``factory``.

        See ``lyredb.protocols.http.upgrade`` for its arguments and what it makes.
        """


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener can be reached: ``mqtt://127.0.0.1:1883``."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class Calls(Protocol):
    """Questions to the process that writes, which is one for all workers.

    Implemented in ``lyredb.storage``; kinds that a plugin makes up begin with its name.
    """

    def call(self, kind: str, body: bytes, on_reply: Callable[[bytes | LyreError], None]) -> None:
        """Ask; ``on_reply`` is called once, later."""

    def notify(self, kind: str, body: bytes) -> None:
        """Tell; no answer comes."""

    def on_notice(self, kind: str, handler: Callable[[bytes], None]) -> None:
        """Have a handler called with what this worker is told."""

    def on_attach(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called each time that the process is there anew."""


class ProcessNumbers(Protocol):
    """What one process of the server counted (``lyredb.server.metrics.snapshot.Snapshot``)."""

    @property
    def process(self) -> str:
        """``server`` (all in one), ``supervisor``, ``writer`` or ``worker``."""

    @property
    def worker(self) -> int:
        """Its number from 1, 0 when it is none."""

    @property
    def numbers(self) -> Mapping[str, Mapping[str, float]]:
        """By room, then by name; docs/metrics.md says what they mean."""


async def no_numbers() -> Sequence[ProcessNumbers]:
    """Nothing counts where there is no server around the plugin."""
    return ()


class Listeners(Protocol):
    """Where listening sockets come from; ports belong to the server, not to its plugins.

    A server of several workers has each port once and a socket of it per worker, which
    outlives the worker: what has connected while one restarts is served by the next.
    """

    def __call__(self, name: str, /) -> Sequence[socket.socket]:
        """Return the bound, listening, non-blocking sockets of a setting of kind ``port``.

        They are the caller's from now on, who closes them; none when the port is ``off``.

        Raises:
            SettingError: The port cannot be had; says why and which setting to change.
        """


class Reloads(Protocol):
    """Where who can change while the server runs says so."""

    def __call__(self, apply: Callable[[Settings], None], /) -> None:
        """Call ``apply`` with the settings in force after each reload (SIGHUP).

        Only rows that are marked as `Setting.live` may differ from those at the start. What
        ``apply`` raises is logged, and the next ones are called.
        """


@dataclass(frozen=True, slots=True)
class Scope(Generic[ResourcesT, AuthenticatorT]):
    """What a plugin may use.

    Attributes:
        settings: The settings in force.
        resources: ``lyredb.resources.database.Database``.
        authenticator: ``lyredb.security.authenticator.Authenticator``.
        http: The HTTP port.
        host: The address to listen on.
        listeners: The sockets of a port setting: ``scope.listeners("mqtt.network.port")``.
        network: Serves them: ``await scope.network.serve(sock, factory)``.
        on_reload: Where to learn of settings that changed at run time.
        calls: Questions to the process that writes.
        authorize_local: True when loopback without credentials is the super user
            (``lyredb dev`` only).
        worker: The number of this worker, 1 to ``workers``; 0 when all is one process.
        workers: How many there are; limits of the whole server are shared by so many.
        tell_worker: Tell clients which worker serves them (``threads.tell``).
        numbers: Returns what all processes counted: this one in this moment, the others in
            the last second. Once all plugins have started.
    """

    settings: Settings
    resources: ResourcesT
    authenticator: AuthenticatorT
    http: HttpMounts
    host: str
    listeners: Listeners
    network: Network
    on_reload: Reloads
    calls: Calls
    authorize_local: bool
    worker: int = 0
    workers: int = 1
    tell_worker: bool = False
    numbers: Callable[[], Awaitable[Sequence[ProcessNumbers]]] = no_numbers


class ProtocolPlugin(Protocol[ResourcesT, AuthenticatorT]):
    """One protocol.

    Attributes:
        name: As in the entry point.
        settings: The rows that it adds to the settings table.
    """

    name: str
    settings: Sequence[Setting]

    def prepare(self, scope: Scope[ResourcesT, AuthenticatorT]) -> None:
        """Take the scope and mount HTTP handlers; nothing listens yet."""

    async def start(self) -> Sequence[Address]:
        """Listen. Returns the plugin's own addresses (none when it lives on HTTP).

        Raises:
            SettingError, OSError: It cannot listen.
        """

    async def stop(self, deadline_s: float) -> None:
        """Accept nothing more, tell peers, wait for answers in flight, close.

        Returns within ``deadline_s`` seconds.
        """
