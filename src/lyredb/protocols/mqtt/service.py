"""What all MQTT connections of a worker share: clients by id, timers, logins, counters."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, Protocol

from lyredb.errors import LyreError
from lyredb.operations.broker_requests import ClientEntry
from lyredb.plugins.context import Context, Principal
from lyredb.plugins.delivery import Format
from lyredb.protocols.mqtt.buffers import Buffers
from lyredb.protocols.mqtt.encoding import MqttEncoding
from lyredb.protocols.mqtt.flapping import Flapping
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.openers import EVERYTHING_ELSE, Opened, Opener, Wish, refuse_shared
from lyredb.protocols.mqtt.packets import V5, V311
from lyredb.protocols.mqtt.passing import Passing
from lyredb.protocols.mqtt.replay import QUERY, open_query
from lyredb.protocols.mqtt.statistics import Counters, MqttStatistics, Tally
from lyredb.protocols.mqtt.stretches import Stretches
from lyredb.protocols.mqtt.tracing import Tap
from lyredb.protocols.mqtt.wheel import Wheel
from lyredb.protocols.net.flow import Turn
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator
from lyredb.sessions.claims import Refusal
from lyredb.sessions.claims_client import Claims, OnResult
from lyredb.sessions.receipts import Receipt
from lyredb.sessions.store import OnOpen
from lyredb.sessions.wills import Will

logger = logging.getLogger("lyredb.mqtt")

_FLUSH_S: Final = 0.5
"""How long a peer may take to read its last bytes when the server stops. Whoever has not
read them by then is stuck or far behind, and its session ends here anyway."""

LINGER_S: Final = 5.0
"""How long a peer may take to read the last bytes and close, before it is cut off."""


class Client(Protocol):
    """A connection as the service sees it."""

    def publish_will(self) -> None:
        """Publish the will now, and never again."""

    def access_changed(self, principal: Principal) -> None:
        """Decide the will again, if it is that of a client with these rights."""

    def pause_reading(self, why: object) -> None:
        """Read no more until resumed."""

    def shutdown(self) -> None:
        """Say goodbye and close."""

    def abort(self) -> None:
        """Close at once."""

    def report(self) -> ClientEntry | None:
        """What operators are told of the client; None where there is none."""

    def count(self, tally: Tally) -> None:
        """Add what it has counted; called once a second, so it should be cheap."""

    def kick(self, sentence: str) -> None:
        """End because an operator says so."""

    def tap(self, tap: Tap | None) -> None:
        """Have packets pass a tap from now on; None: no more."""


class Sleepers(Protocol):
    """The sessions that outlive their connections (`lyredb.sessions.store.Sessions`)."""

    def open(
        self,
        context: Context,
        epoch: int,
        *,
        clean_start: bool,
        expiry_s: int,
        on_open: OnOpen,
    ) -> None:
        """Take up a client's session, or begin one; see there."""

    def write_receipt(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        """Write down that a member of a group takes a message; see there."""

    def has(self, client_id: str) -> bool:
        """Tell whether there is a session; see there."""


def assigned_client_id() -> str:
    """A client identifier that nobody else has."""
    return f"auto-{secrets.token_hex(12)}"


class Service:
    """The shared state of a worker's MQTT connections.

    Attributes:
        database: Where everything goes.
        authenticator: Decides logins.
        limits: Every bound.
        wheel: Timers.
        counters: What is counted.
        claims: Client identifiers, on all workers.
        sessions: Those that outlive their connections.
        worker: What clients are told of the worker that serves them; ``""`` for nothing.
        buffers: What waits for slow readers.
        connections: All open ones.
        clients: Those that have, or have asked for, a client identifier.
        tap_for: What notes the packets of a client that is traced.
        writing: Retained messages sent to the writer and not answered.
        flapping: Who connects and leaves too often.
        stretches: Finds frames alike, for all publishers.
        passing: Properties that go on as they come, for all publishers.
        openers: Who makes a subscription, by the first level of its filter.
        turn: The one of the connection that works.

    Args:
        loop: The worker's event loop.
        now_ms: Wall clock in epoch milliseconds, for message expiry.
        clock: Monotonic seconds, for the turns of connections (`lyredb.protocols.net.flow`).
        new_client_id: Makes identifiers for clients that send none.
    """

    def __init__(
        self,
        database: Database,
        authenticator: Authenticator,
        limits: Limits,
        claims: Claims,
        sessions: Sleepers,
        *,
        worker: str = "",
        loop: asyncio.AbstractEventLoop,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        clock: Callable[[], float] = time.perf_counter,
        new_client_id: Callable[[], str] = assigned_client_id,
    ) -> None:
        self.database = database
        self.authenticator = authenticator
        self.limits = limits
        self.claims = claims
        self.sessions = sessions
        self.worker = worker
        self.tap_for: Callable[[str], Tap | None] = lambda _: None
        self.now_ms = now_ms
        self.turn = Turn(clock, self.call_soon)
        self.new_client_id = new_client_id
        self.wheel = Wheel(loop.call_later)
        self.counters = Counters()
        self.connections: set[Client] = set()
        self.clients = 0
        self.writing = 0
        self.flapping = Flapping(limits.flapping, clock)
        self.stretches = Stretches()
        self.passing = Passing()
        self.openers: dict[str, Opener] = {
            EVERYTHING_ELSE: self._open,
            "$share": refuse_shared,
            QUERY: partial(open_query, database),
        }
        self.buffers = Buffers(limits.max_buffered_bytes, loop.call_soon)
        self._loop = loop
        self._encodings: dict[tuple[int, Format], MqttEncoding] = {}
        self._sessions = itertools.count(secrets.randbits(62) + 1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._settled: asyncio.Event | None = None
        database.on_access_change(self._access_changed)

    def _access_changed(self, principal: Principal) -> None:
        for connection in list(self.connections):
            connection.access_changed(principal)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run in the next tick."""
        self._loop.call_soon(callback)

    def encoding(self, version: int, format: Format) -> MqttEncoding:
        """How messages look to clients of a version that take a format; one for all.

        A PUBLISH of 3.1 looks as one of 3.1.1.
        """
        version = version if version == V5 else V311
        key = version, format
        encoding = self._encodings.get(key)
        if encoding is None:
            encoding = MqttEncoding(version, format, self.limits.null_delete)
            self._encodings[key] = encoding
        return encoding

    def _open(self, wish: Wish) -> Opened:
        """Make a subscription to topics of tables."""
        return self.database.subscribe(
            wish.filter, wish.subscriber, wish.context, wish.options, wish.after
        )

    def new_session(self) -> int:
        """A number that no other connection of this server has or had."""
        # Random, as log entries keep it: another worker, or this one before a restart, may
        # have begun anywhere. Two of 1,000 processes with a million connections each meet
        # with a chance of one in 10 million.
        return next(self._sessions)

    @property
    def is_full(self) -> bool:
        """True when no further client can be let in."""
        return self.clients >= self.limits.max_connections

    @property
    def is_crowded(self) -> bool:
        """True when further sockets are closed unheard.

        Some beyond the limit are still heard, so that a client learns in a CONNACK
        that the server is busy; a flood of silent sockets is not kept.
        """
        return len(self.connections) >= self.limits.max_connections + 1_000

    def claim(
        self,
        client_id: str,
        user: str,
        on_result: OnResult,
        on_revoke: Callable[[], None],
        will: Will | None,
        *,
        clean_start: bool,
    ) -> None:
        """Claim a client identifier for a connection, which counts as a client from now on.

        [MQTT-3.1.4-3]. A connection that has it ends first: its will is published before
        the new one is answered. See `lyredb.sessions.claims_client.Claims.claim`.
        """
        self.clients += 1

        def answered(result: int | Refusal | LyreError) -> None:
            if isinstance(result, (Refusal, LyreError)):
                self.clients -= 1
            on_result(result)

        self.claims.claim(client_id, user, answered, on_revoke, will, clean_start=clean_start)

    def release(
        self, client_id: str, epoch: int, delay_ms: int = 0, *, was_let_in: bool = True
    ) -> None:
        """Give a client identifier back: its connection has stopped.

        Args:
            client_id: The identifier.
            epoch: Of the claim.
            delay_ms: When its will is published from now; 0: it is out, or was discarded.
            was_let_in: See `lyredb.sessions.claims_client.Claims.release`.
        """
        self.clients -= 1
        self.claims.release(client_id, epoch, delay_ms, was_let_in=was_let_in)

    def discard(self, connection: Client) -> None:
        """Forget a connection that is gone."""
        self.connections.discard(connection)
        self._check_settled()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a login; `stop` ends it."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def begin_write(self) -> None:
        """Note that something went to the writer which has to be there before the end."""
        self.writing += 1

    def end_write(self) -> None:
        """Note that it was answered."""
        self.writing -= 1
        self._check_settled()

    def statistics(self) -> MqttStatistics:
        """A snapshot of all counters."""
        counters, tally = self.counters, Tally()
        for connection in self.connections:
            connection.count(tally)
        return MqttStatistics(
            connections=len(self.connections),
            clients=self.clients,
            durable=tally.durable,
            subscriptions=tally.subscriptions,
            accepted=counters.accepted,
            refused_connects=counters.refused_connects,
            received=counters.received,
            refused=counters.refused,
            sent=counters.sent + tally.sent,
            dropped=counters.dropped + tally.dropped,
            received_bytes=counters.received_bytes,
            sent_bytes=counters.sent_bytes + counters.published_bytes + tally.published_bytes,
            published_bytes=counters.published_bytes + tally.published_bytes,
            violations=counters.violations,
            takeovers=counters.takeovers,
            writing=self.writing,
            buffered_bytes=self.buffers.total,
            cut_off=self.buffers.cut_off,
        )

    async def stop(self, deadline_s: float) -> None:
        """Publish wills, finish answers in flight, disconnect everybody.

        Returns within ``deadline_s`` seconds. Only writes may take that long: peers that
        do not read their last bytes within `_FLUSH_S` are cut off. Nobody is read any more
        from the start, so that an answer that was sent stays true.
        """
        deadline = self._loop.time() + deadline_s
        for connection in list(self.connections):
            connection.pause_reading(self)
        for connection in list(self.connections):
            connection.publish_will()
        # Half of the time for the disk, so that there is some left to say goodbye.
        await self._wait(lambda: not self.writing, self._loop.time() + deadline_s / 2)
        for connection in list(self.connections):
            connection.shutdown()
        flushed = min(self._loop.time() + _FLUSH_S, deadline - deadline_s / 10)
        await self._wait(lambda: not self.connections, flushed)
        # Sessions that last are on disk, or are as they were a second ago.
        await self._wait(lambda: not self.writing, deadline)
        for connection in list(self.connections):
            connection.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.wheel.close()

    async def _wait(self, settled: Callable[[], bool], deadline: float) -> None:
        await asyncio.sleep(0)  # what is due in this tick goes out: flushes, replies
        while not settled():
            left_s = deadline - self._loop.time()
            if left_s <= 0:
                return
            self._settled = asyncio.Event()
            try:
                async with asyncio.timeout(left_s):
                    await self._settled.wait()
            except TimeoutError:
                return
            finally:
                self._settled = None

    def _check_settled(self) -> None:
        if self._settled is not None and (not self.writing or not self.connections):
            self._settled.set()
