"""MQTT connections without sockets: a fake transport, a fake database, the real hub.

Everything runs on a real event loop, whose ticks the tests let pass by `Harness.tick`;
the timer wheel is turned by hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TypeVar, cast

from lyredb.delivery.admission import ALL, Destination, View
from lyredb.delivery.filters import matches, parse_filter
from lyredb.delivery.hub import Hub, Ingress
from lyredb.delivery.message import Message
from lyredb.delivery.peers import RawReader
from lyredb.delivery.terms import Terms
from lyredb.errors import LoginFailed, LyreError, NotAuthorised, Overloaded, UnknownTopic
from lyredb.formats import JSON
from lyredb.plugins.context import Context, Principal
from lyredb.plugins.delivery import Batch, Format, Publisher, Subscriber
from lyredb.protocols.mqtt.connection import Connection
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.service import Service, Sleepers
from lyredb.protocols.mqtt.wheel import Cancellable, Wheel
from lyredb.resources.database import Database
from lyredb.resources.logged import Logged, LoggedMessage
from lyredb.resources.requests import SubscribeOptions, Write, Written
from lyredb.resources.subscription import State
from lyredb.resources.target import Target
from lyredb.security.authenticator import Account, Authenticator
from lyredb.security.principals import ANONYMOUS, SUPER_USER
from lyredb.security.revocations import Revocations
from lyredb.sessions.claims_client import Claims
from lyredb.sessions.claims_service import ClaimsService
from lyredb.sessions.receipts import Receipt
from lyredb.sessions.store import OnOpen
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.sequencer import Sequencer
from lyredb.tables.stored import StoredTable
from tests.protocols.mqtt import client_frames as client
from tests.sessions.streams import FakeWriter, HandTimers, Streams

Done = Callable[[Written | LyreError], None]
T = TypeVar("T")

SLOT = 20
TABLE = cast(StoredTable, SimpleNamespace(schema=SimpleNamespace(expiration_s=60.0)))
"""A will that is written there lives for a minute."""


def run(body: Callable[[], Coroutine[None, None, T]]) -> T:
    return asyncio.run(body())


class FakeTransport:
    """Keeps what is written; may be told to be full."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.writes = 0
        self.waiting = 0
        self.is_closed = False
        self.is_aborted = False
        self.is_reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed, "written to after close"
        self.data += data
        self.writes += 1

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def pause_reading(self) -> None:
        assert self.is_reading
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading
        self.is_reading = True


class FakeRegistry:
    """Every topic below ``Sensor/`` and ``open/`` is a record; of others there is none."""

    def topic(self, topic: str, protocol: str) -> Target:
        assert protocol == "mqtt"
        if topic.split("/", 1)[0] not in ("Sensor", "open"):
            raise UnknownTopic(f"no table is exported as {topic!r}")
        return Target("record", TABLE, topic, id=topic, key=topic.encode())

    def of(self, slot: int, key: bytes) -> tuple[bytes, ...]:
        return (key,)


class FakeAccess:
    """Everybody may do everything, but for those who are ``denied``."""

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry
        self.denied: set[Principal] = {ANONYMOUS}

    def publish(self, principal: Principal, protocol: str, topic: bytes) -> Destination:
        self._registry.topic(topic.decode(), protocol)
        if principal in self.denied:
            raise NotAuthorised(f"{principal.name} may not publish here")
        return Destination(SLOT, topic, topic.decode(), "data.Sensor")

    def read(self, principal: Principal, protocol: str, topic: bytes) -> View | None:
        return None if principal in self.denied else ALL


@dataclass
class Submitted:
    write: Write
    context: Context
    done: Done
    rows: Rows = ()


@dataclass
class LogCall:
    messages: tuple[LoggedMessage, ...]
    context: Context
    done: Logged
    rows: Rows = ()


class FakeSnapshot:
    """Of a store without sessions."""

    now_ms = 0

    def __enter__(self) -> FakeSnapshot:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stored(self, slot: int, key: bytes) -> bytes | None:
        return None


class FakeSessionStore:
    """No session has ever outlived its connection, and none is to."""

    half = position = 0

    def snapshot(self) -> FakeSnapshot:
        return FakeSnapshot()


class FakeDatabase:
    """Records in a dict; writes wait until `commit` or `reject`.

    Attributes:
        logging: What waits for the log, until `commit_log`.
        logged: What was committed there.
        rows: Of sessions, committed with messages and writes.
        knowing: Who waits until other workers know of a subscription; None: they do.
        full: Raise `Overloaded` on `submit`.
        fault: Raise this on `submit`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.registry = FakeRegistry()
        self.access = FakeAccess(self.registry)
        self.hub = Hub(self.access, self.registry, {}, schedule_flush=lambda call: soon(loop, call))
        self.peers = self.hub.peers
        self.records: dict[str, bytes] = {}
        self.waiting: list[Submitted] = []
        self.subscriptions: list[FakeSubscription] = []
        self.drained_by: list[Subscriber] = []
        self.logging: list[LogCall] = []
        self.logged: list[LoggedMessage] = []
        self.rows: list[tuple[bytes, bytes | None]] = []
        self.knowing: list[Callable[[], None]] | None = None
        self.full = False
        self.fault: Exception | None = None
        self.session_store = FakeSessionStore()

    def on_access_change(self, callback: Callable[[Principal], None]) -> None:
        self.on_change = callback

    def identify(self, context: Context) -> Context:
        """Nobody's rights are by user or client here."""
        return context

    def is_outdated(self, principal: Principal) -> bool:
        return False

    def change_access(self, principal: Principal) -> None:
        """The rights of a principal have changed."""
        self.hub.access_changed(principal)
        self.on_change(principal)

    def when_known(self, callback: Callable[[], None]) -> None:
        if self.knowing is None:
            callback()
        else:
            self.knowing.append(callback)

    def know(self) -> None:
        """The other workers know what is subscribed to."""
        knowing, self.knowing = self.knowing or [], None
        for callback in knowing:
            callback()

    def ingress(self, context: Context, raw: str = "", content_type: str = "") -> Ingress:
        return self.hub.ingress(context.principal, context.protocol, raw, content_type)

    def read_raw(self, kind: str, reader: RawReader) -> None:
        self.hub.peers.read_raw(kind, reader)

    def publish(
        self,
        topic: str,
        payload: bytes,
        context: Context,
        *,
        publisher: Publisher | None = None,
        qos: int = 0,
        content_type: str = "",
        properties: bytes = b"",
        expires_ms: int = 0,
    ) -> None:
        ingress = self.ingress(context)
        path = ingress.path(topic.encode())
        message = Message.direct(
            topic.encode(),
            payload,
            path.destination,
            qos=qos,
            content_type=content_type,
            properties=properties,
            session=context.session,
            expires_ms=expires_ms,
        )
        ingress.push(path, message, publisher)

    def prepare(self, write: Write, context: Context) -> Mutation:
        if context.principal in self.access.denied:
            raise NotAuthorised(f"{context.principal.name} may not update here")
        kind = Kind.PUT if write.payload else Kind.DELETE
        return mutation_of(write.target.key, kind, write.payload, write.qos, context)

    def prepare_message(
        self,
        topic: bytes,
        payload: bytes,
        context: Context,
        *,
        qos: int = 0,
        content_type: str = "",
        properties: bytes = b"",
    ) -> Mutation:
        destination = self.access.publish(context.principal, context.protocol, topic)
        return mutation_of(destination.key, Kind.MESSAGE, payload, qos, context)

    def submit(self, write: Write, context: Context, done: Done, session_rows: Rows = ()) -> None:
        if context.principal in self.access.denied:
            raise NotAuthorised(f"{context.principal.name} may not update here")
        if self.fault is not None:
            raise self.fault
        if self.full:
            raise Overloaded("too many writes wait")
        self.waiting.append(Submitted(write, context, done, session_rows))

    def log(
        self,
        messages: Sequence[LoggedMessage],
        context: Context,
        done: Logged,
        session_rows: Rows = (),
    ) -> None:
        error = self.fault if isinstance(self.fault, LyreError) else None
        if self.full:
            error = Overloaded("too many writes wait")
        if error is not None:
            done(error)
            return
        for message in messages:
            self.hub.hold(message.destination.slot, message.destination.key)
        self.logging.append(LogCall(tuple(messages), context, done, session_rows))

    def commit_log(self, count: int | None = None, error: LyreError | None = None) -> None:
        """Commit what waits for the log, or fail it; it is told to the hub's readers then."""
        now, self.logging = self.logging[:count], self.logging[len(self.logging[:count]) :]
        for call in now:
            for message in call.messages:
                seq = 0 if error is not None else self.hub.position + 1
                if seq:
                    self.logged.append(message)
                    self.tell(message, call.context, seq)
                self.hub.release(message.destination.slot, message.destination.key, seq)
            if error is None:
                self.rows += call.rows
            call.done(self.hub.position if error is None else error)

    def tell(self, message: LoggedMessage, context: Context, seq: int) -> None:
        """Tell a logged message as the tail does."""
        told = message_of(
            str(message.destination.id),
            message.payload,
            kind="message",
            content_type=message.content_type,
            properties=message.properties,
            expires_ms=message.expires_ms,
        )
        told.seq, told.qos, told.session = seq, message.qos, context.session
        route = self.hub.ingress(context.principal, "mqtt").path(told.topic).route
        self.hub.distribute(route, told, None, "", b"", 0)
        self.hub.pass_by(seq, (message.destination.slot, message.destination.key))

    def commit(self, count: int | None = None) -> None:
        """Commit what waits, in order."""
        now, self.waiting = self.waiting[:count], self.waiting[len(self.waiting[:count]) :]
        for submitted in now:
            topic = submitted.write.target.topic
            if submitted.write.operation == "delete":
                self.records.pop(topic, None)
            else:
                self.records[topic] = submitted.write.payload
            self.rows += submitted.rows
            submitted.done(Written(topic, 1, 1, False, cast(StoredTable, None)))

    def reject(self, error: LyreError) -> None:
        """Fail all that waits."""
        now, self.waiting = self.waiting, []
        for submitted in now:
            submitted.done(error)

    def subscribe(
        self,
        filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
        after: str = "",
    ) -> FakeSubscription:
        parse_filter(filter)
        if context.principal in self.access.denied:
            raise NotAuthorised(f"{context.principal.name} may not subscribe here")
        if filter.split("/", 1)[0] not in ("Sensor", "open", "+", "#"):
            raise UnknownTopic(f"no table is exported as {filter!r}")
        subscription = FakeSubscription(self, filter, subscriber, context, options)
        self.subscriptions.append(subscription)
        return subscription

    def drained(self, subscriber: Subscriber) -> None:
        self.drained_by.append(subscriber)
        self.hub.drained(subscriber)


class FakeSubscription:
    """Current state at once, then a member of the hub."""

    def __init__(
        self,
        database: FakeDatabase,
        filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
    ) -> None:
        self._database = database
        self._filter = filter
        self._subscriber = subscriber
        self._context = context
        self.options = options
        self.state: State = State.PREPARED
        self.resumed = 0

    def start(self) -> None:
        if self.state == State.CLOSED:
            return
        assert self.state == State.PREPARED
        self.state = State.LIVE
        if not self.options.omit_current:
            self._send_current()
        self._join()

    def _send_current(self) -> None:
        levels = parse_filter(self._filter)
        data, ends, ids = b"", [], []
        for topic, payload in sorted(self._database.records.items()):
            if matches(levels, topic.encode()):
                message = message_of(topic, payload, current=True)
                frame, id_at = self.options.encoding.frame(
                    message,
                    qos=min(message.qos, self.options.qos),
                    retain=True,
                    ids=self.options.ids,
                )
                ids.append(len(data) + id_at if id_at else 0)
                data += frame
                ends.append(len(data))
        if ends:
            with_ids = (ends, ids) if self.options.qos else ((), ())
            self._subscriber.write(Batch(data, len(ends), *with_ids))

    def _join(self) -> None:
        terms = Terms(
            encoding=self.options.encoding,
            qos=self.options.qos,
            principal=self._context.principal,
            protocol=self._context.protocol,
            retain_as_published=self.options.retain_as_published,
            ids=self.options.ids,
            no_local=self._context.session if self.options.no_local else 0,
        )
        self._database.hub.join(self._filter, self._subscriber, terms)

    def update(self, options: SubscribeOptions) -> None:
        self.options = options
        if self.state == State.LIVE:
            self._join()

    def resume(self) -> None:
        self.resumed += 1

    def close(self) -> None:
        if self.state == State.LIVE:
            self._database.hub.leave(self._filter, self._subscriber)
        self.state = State.CLOSED


def mutation_of(key: bytes, kind: Kind, payload: bytes, qos: int, context: Context) -> Mutation:
    return Mutation(
        SLOT, key, kind, body=payload, qos=qos, user=context.user, session=context.session
    )


def message_of(
    topic: str,
    payload: bytes,
    *,
    kind: str = "put",
    current: bool = False,
    is_opaque: bool = True,
    content_type: str = "",
    properties: bytes = b"",
    expires_ms: int = 0,
) -> Message:
    return Message(
        topic.encode(),
        kind,  # type: ignore[arg-type]  # one of the three, from tests only
        "data.Sensor",
        topic,
        payload,
        record_table=None,
        is_opaque=is_opaque,
        version=1.0,
        local_ms=1,
        seq=1,
        qos=1,
        retain=current,
        current=current,
        position="",
        content_type=content_type,
        properties=properties,
        expires_ms=expires_ms,
        session=0,
    )


class FakeAuthenticator:
    """alice (password ``right``) and bob are super users; a check waits for its gate."""

    anonymous = Account("", ANONYMOUS)
    local = Account("local", SUPER_USER)

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.remembered: set[tuple[str, bytes]] = set()
        self.error: Exception | None = None
        self.verified = 0
        self.hosts: list[str] = []
        self.revocations = Revocations()
        self.accounts = {name: Account(name, SUPER_USER) for name in ("alice", "bob")}

    def by_name(self, name: str) -> Account | None:
        return self.accounts.get(name)

    def cached(
        self, name: str, password: str | bytes, address: str = "", client_id: str = ""
    ) -> Account | None:
        if (name, password) in self.remembered:
            return Account(name, SUPER_USER)
        return None

    async def verify(
        self, name: str, password: str | bytes, *, address: str = "", client_id: str = ""
    ) -> Account:
        self.verified += 1
        self.hosts.append(address)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        if name in ("alice", "bob") and password == b"right":
            return Account(name, SUPER_USER)
        raise LoginFailed("Login failed")


class NoSessions:
    """No session outlives its connection, and none ever has."""

    def open(
        self,
        context: Context,
        epoch: int,
        *,
        clean_start: bool,
        expiry_s: int,
        on_open: OnOpen,
    ) -> None:
        on_open(None)

    def write_receipt(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        raise AssertionError("no group has a session")

    def has(self, client_id: str) -> bool:
        return False


class HandTimer:
    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    def cancel(self) -> None:
        self._clock.armed = None


class HandClock:
    """The wheel's timer, turned by hand."""

    def __init__(self) -> None:
        self.armed: Callable[[], None] | None = None

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Cancellable:
        self.armed = callback
        return HandTimer(self)

    def turn(self, ticks: int) -> None:
        for _ in range(ticks):
            callback, self.armed = self.armed, None
            if callback is not None:
                callback()


def soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    loop.call_soon(callback)


class Peer:
    """One client: what it sends goes in, what it got comes out."""

    def __init__(
        self, harness: Harness, connection: Connection, transport: FakeTransport, version: int
    ) -> None:
        self.harness = harness
        self.connection = connection
        self.transport = transport
        self.version = version
        self._seen = 0
        self._kept: list[client.Received] = []

    def send(self, *frames: bytes) -> None:
        """The frames arrive, and whatever they cause at the directory of claims is done."""
        self.connection.feed(b"".join(frames))
        self.harness.streams.run()

    def take(self) -> list[client.Received]:
        """What came since the last call."""
        found = [
            *self._kept,
            *client.split(bytes(self.transport.data[self._seen :]), self.version),
        ]
        self._kept = []
        self._seen = len(self.transport.data)
        return found

    def put_back(self, packets: list[client.Received]) -> None:
        """Have the next `take` return these too."""
        self._kept = [*packets, *self._kept]

    def lose(self) -> None:
        """The network connection breaks."""
        self.transport.is_closed = True
        self.connection.connection_lost(None)
        self.harness.streams.run()

    @property
    def is_closed(self) -> bool:
        return self.transport.is_closed


class Harness:
    """A service with its fakes; must be made on a running loop.

    Attributes:
        streams: To the directory of claims; it is the harness's own unless it is given one,
            as a further worker is.
        timers: The directory's.
        will_writer: Where the wills of lost workers go.
        look_s: What each look at the clock takes: 0, so that turns end when a test wants.
    """

    def __init__(
        self,
        *,
        streams: Streams | None = None,
        worker: int = 1,
        tells: str = "",
        sessions: Sleepers | None = None,
        **limits: object,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.streams = streams or Streams()
        self.timers = HandTimers()
        self.will_writer = FakeWriter()
        if streams is None:
            self.directory = ClaimsService(
                self.streams,
                cast(Sequencer, self.will_writer),
                call_later=self.timers.call_later,
            )
        self.database = FakeDatabase(self.loop)
        self.authenticator = FakeAuthenticator()
        self.clock = HandClock()
        self.look_s = 0.0
        self._now_s = 0.0
        self.service = Service(
            cast(Database, self.database),
            cast(Authenticator, self.authenticator),
            replace(Limits(), **limits),  # type: ignore[arg-type]  # names are checked there
            Claims(self.streams.worker(worker)),
            sessions or NoSessions(),
            worker=tells,
            loop=self.loop,
            new_client_id=lambda: "auto-1",
            clock=self.now,
        )
        self.service.wheel = Wheel(self.clock.call_later)

    def now(self) -> float:
        self._now_s += self.look_s
        return self._now_s

    def peer(
        self,
        version: int = 4,
        *,
        account: Account | None = FakeAuthenticator.local,
        format: Format = JSON,
        content_type: str = "",
    ) -> Peer:
        """A connection without a CONNECT."""
        transport = FakeTransport()
        connection = Connection(
            transport,
            self.service,
            address="test",
            account=account,
            format=format,
            content_type=content_type,
        )
        return Peer(self, connection, transport, version)

    def connected(
        self,
        version: int = 4,
        client_id: str = "c",
        *,
        account: Account | None = FakeAuthenticator.local,
        format: Format = JSON,
        content_type: str = "",
        keep_alive: int = 0,
        will: tuple[str, bytes] | None = None,
        will_qos: int = 0,
        will_retain: bool = False,
        will_properties: bytes = b"",
        props: bytes = b"",
    ) -> Peer:
        """A client whose CONNECT was accepted."""
        peer = self.peer(version, account=account, format=format, content_type=content_type)
        peer.send(
            client.connect(
                version,
                client_id,
                keep_alive=keep_alive,
                will=will,
                will_qos=will_qos,
                will_retain=will_retain,
                will_properties=will_properties,
                props=props,
            )
        )
        (connack,) = peer.take()
        assert (connack.kind, connack.reason) == (2, 0), connack
        return peer

    async def tick(self) -> None:
        """Let everything that is due happen."""
        for _ in range(4):
            await asyncio.sleep(0)
            self.streams.run()


def now_ms() -> int:
    return time.time_ns() // 1_000_000
