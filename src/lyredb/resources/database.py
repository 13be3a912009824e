"""The database as everybody uses it: protocols, plugins and application code.

Each operation resolves nothing twice and decides access once, here. Reading is
synchronous (the store is mapped memory); a write returns when it is on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec.structs import replace

from lyredb.delivery.finding import Searches
from lyredb.delivery.hub import Hub, Ingress
from lyredb.delivery.message import Message
from lyredb.delivery.peers import Peers, RawReader
from lyredb.delivery.position import format_position
from lyredb.delivery.tail import Tail
from lyredb.errors import ServerStopping
from lyredb.formats import Pause
from lyredb.plugins.context import Context, Principal
from lyredb.plugins.delivery import Publisher, Subscriber
from lyredb.resources.access import Access
from lyredb.resources.barrier import Barrier
from lyredb.resources.blob_intake import BlobIntake
from lyredb.resources.blob_uploads import BlobUploads
from lyredb.resources.blobs import BlobStore
from lyredb.resources.deletion import Deletions, delete_found, is_conditional
from lyredb.resources.held import HeldBytes
from lyredb.resources.logged import Logged, LoggedMessage, MessageLog, Published
from lyredb.resources.mutations import message_mutation
from lyredb.resources.queries import Queries
from lyredb.resources.reads import Reads
from lyredb.resources.registry import Registry
from lyredb.resources.requests import Reading, SubscribeOptions, Write, WriteOperation, Written
from lyredb.resources.session_store import SessionStore
from lyredb.resources.subscription import Rooms, Subscription
from lyredb.resources.subscriptions import Subscriptions
from lyredb.resources.target import Target
from lyredb.resources.transaction import MAX_AGE_S, Transaction
from lyredb.resources.turns import Turns
from lyredb.resources.writing import Done, Writing
from lyredb.security.principals import SUPER_USER
from lyredb.storage.apply import Rows
from lyredb.storage.engine import Engine
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Sequencer, settling
from lyredb.tables.query.costs import DEFAULT_LIMITS, QueryLimits
from lyredb.tables.query.results import Results
from lyredb.tables.query.terms import Query
from lyredb.tables.stored import StoredTable


class Database:
    """Reads, writes, publishes and subscribes, for whoever has a context.

    Attributes:
        registry: Resolves paths and topics.
        subscriptions: All that are open.
        session_store: What sessions that outlive their connections read and write.
        blobs: The files of blobs.
        uploads: Takes the content of one in parts.
    """

    def __init__(
        self,
        engine: Engine,
        writer: Sequencer,
        registry: Registry,
        access: Access,
        hub: Hub,
        tail: Tail,
        query_limits: QueryLimits = DEFAULT_LIMITS,
        *,
        passed: Callable[[int], bool] | None = None,
    ) -> None:
        """Put it together, in a running loop.

        Args:
            engine: The store.
            writer: Where writes go.
            registry: Resolves paths and topics.
            access: Decides.
            hub: Delivers.
            tail: Tells the log to the hub.
            query_limits: What one query may cost.
            passed: See `Barrier`.
        """
        self.registry = registry
        self._reads = Reads(engine, registry, access)
        self._queries = Queries(engine, registry, access, query_limits)
        self._engine = engine
        self._access = access
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        turns = Turns(self._loop.call_soon)
        rooms = Rooms(engine, registry, access, hub, tail, turns, HeldBytes(), Searches())
        self.subscriptions = Subscriptions(rooms)
        self.blobs = BlobStore(engine.path, engine.settings)
        self._intake = BlobIntake(self.blobs)
        most = engine.settings.max_transaction_mutations
        self._writing = Writing(writer, hub, access, most, self._intake)
        self._log = MessageLog(self._writing)
        self._barrier = Barrier(tail, self._loop.call_later, passed)
        self.session_store = SessionStore(rooms, writer, self._barrier.when_told)
        self.uploads = BlobUploads(engine, self._writing, self.blobs, self.write)
        self._on_access_change: list[Callable[[Principal], None]] = []

    def resolve(self, path: str, context: Context) -> Target:
        """Resolve a decoded path without its leading slash; see `Registry.resolve`."""
        return self.registry.resolve(path, context.protocol)

    def meant(self, target: Target) -> Target:
        """Return the record whose id is all of a property's path; see `Reads.meant`."""
        return self._reads.meant(target)

    def describe(
        self, target: Target, context: Context, *, counts: bool = False
    ) -> dict[str, object]:
        """Describe a table; see `Reads.describe`."""
        return self._reads.describe(target, context, counts=counts)

    def deleted_version(self, target: Target, context: Context) -> int:
        """Return the version with which a record was deleted; see `Reads.deleted_version`."""
        return self._reads.deleted_version(target, context)

    def get(self, target: Target, context: Context) -> Reading | None:
        """Read one record, ``None`` when there is none; see `Reads.get`."""
        return self._reads.get(target, context)

    def search(
        self, target: Target, query: Query, context: Context, inside: Transaction | None = None
    ) -> Results:
        """Find matching records, lazily, maybe inside a transaction; see `Queries.search`."""
        return self._queries.search(target, query, context, inside)

    def position_token(self, position: int) -> str:
        """A position as clients see it, and as subscriptions resume after."""
        return format_position(self._hub.log_id, position)

    def explain(self, target: Target, query: Query, context: Context) -> dict[str, object]:
        """Return how `search` would find it; see `Queries.explain`."""
        return self._queries.explain(target, query, context)

    def count(self, target: Target, query: Query, context: Context) -> Iterator[int | Pause]:
        """Yield `PAUSE`, and at last how many a query finds; see `Queries.count`."""
        return self._queries.count(target, query, context)

    def admit(self, operation: WriteOperation, target: Target, context: Context) -> None:
        """Refuse a write that may not be, before its body is read.

        Raises:
            NotAuthorised: The principal may not.
        """
        self._writing.admit(operation, target, context)

    def submit(self, write: Write, context: Context, done: Done, session_rows: Rows = ()) -> None:
        """Send a write and go on; see `Writing.submit`."""
        self._writing.submit(write, context, done, session_rows)

    def log(
        self,
        messages: Sequence[LoggedMessage],
        context: Context,
        done: Logged,
        session_rows: Rows = (),
    ) -> None:
        """Log messages of QoS 1 and 2 to topics that are logged; see `MessageLog.log`."""
        self._log.log(messages, context, done, session_rows)

    def when_told(self, position: int, callback: Callable[[], None]) -> None:
        """Call back once every worker has told the log up to there; `Barrier.when_told`."""
        self._barrier.when_told(position, callback)

    def prepare(self, write: Write, context: Context) -> Mutation:
        """Decide and encode a write that somebody else may send; see `Writing.prepare`."""
        return self._writing.prepare(write, context)

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
        """Decide a message that is no record, and encode it for the log.

        `publish` reaches whoever listens now; this one is for somebody who tells it in
        this process's place, by the log.

        Raises:
            InvalidTopic, UnknownTopic, NotAuthorised: It may not be published.
        """
        destination = self._access.publish(context.principal, context.protocol, topic)
        return message_mutation(
            destination,
            payload,
            context,
            qos=qos,
            content_type=content_type,
            properties=properties,
        )

    async def write(self, write: Write, context: Context) -> Written:
        """Write and return once it is on disk.

        A cancelled call may or may not have written.

        Raises:
            NotAuthorised, InvalidRecord, InvalidBody, InvalidKey: Nothing was written.
            PreconditionFailed, RecordExists: Nothing was written.
            Overloaded, DiskFull: Nothing was written; try again later.
            StorageFailed: It may or may not be on disk.
            RuntimeError: Called in another event loop than the database's.
        """
        self._require_own_loop()
        future: asyncio.Future[Written] = self._loop.create_future()
        self._writing.submit(write, context, settling(future))
        return await future

    async def write_all(self, writes: Sequence[Write], context: Context) -> list[Written]:
        """Do all of these writes in one transaction, or none; see `Writing.write_all`.

        Each is as if the ones before it were done already: a key that is created twice is
        `RecordExists`. A cancelled call may or may not have written.

        Raises:
            TransactionTooLarge: More than 100,000 writes or 64 MB, by default.
            LyreError: As of `write`; its ``mutation`` says which write was refused.
        """
        self._require_own_loop()
        return await self._writing.write_all(writes, context)

    async def delete_matching(self, target: Target, query: Query, context: Context) -> int:
        """Delete all records that a query finds, in one transaction; return how many.

        A record that is changed by others between the query and the commit makes the query
        run again.

        Raises:
            NotAuthorised: The principal may not delete, or not read what the query asks.
            TransactionTooLarge: It finds more than one transaction may have.
            WriteConflict: Others changed what it finds all the time; nothing was deleted.
            InvalidQuery, UnknownAttribute: It makes no sense.
        """
        self._require_own_loop()
        self._writing.admit("delete", target, context)
        conditional = is_conditional(query)
        asking = context if conditional else replace(context, principal=SUPER_USER)
        deletions = Deletions(
            target.table,
            context,
            self._engine.settings.max_transaction_mutations,
            conditional=conditional,
        )
        return await delete_found(
            lambda: deletions.of(self._queries.keys_of(target, query, asking)),
            self._writing.send_all,
        )

    def begin(self, context: Context, max_age_s: float = MAX_AGE_S) -> Transaction:
        """Begin a transaction of the running task; see `lyredb.resources.transaction`."""
        self._require_own_loop()
        return Transaction(self._engine, self._writing, context, max_age_s)

    def _require_own_loop(self) -> None:
        """Refuse calls from other loops: their futures would never be woken.

        Checked where code of the process comes in; protocols live in the loop itself.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "the database belongs to the event loop that opened it; from another thread "
                "use asyncio.run_coroutine_threadsafe(…, that loop)"
            )

    def ingress(self, context: Context, raw: str = "", content_type: str = "") -> Ingress:
        """The way in for messages that do not last, for one connection or task.

        Args:
            context: Whose rights decide.
            raw: The kind of frame that may be handed over unparsed, ``""`` for none.
            content_type: Of payloads in such frames that say none.
        """
        return self._hub.ingress(context.principal, context.protocol, raw, content_type)

    def read_raw(self, kind: str, reader: RawReader) -> None:
        """Have raw frames that come from other workers read; see `Peers.read_raw`."""
        self._hub.peers.read_raw(kind, reader)

    @property
    def peers(self) -> Peers:
        """The other workers of the node."""
        return self._hub.peers

    def when_known(self, callback: Callable[[], None]) -> None:
        """Call back once all workers know of every subscription that was prepared here.

        What is published anywhere after that reaches them. At once when there is nothing
        to wait for; a worker that is silent for 2 s is not waited for.
        """
        self._hub.peers.when_known(callback)

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
        done: Published | None = None,
    ) -> None:
        """Deliver a message that is no record; see `publication`.

        Raises:
            InvalidTopic, UnknownTopic, NotAuthorised: Nobody got it.
        """
        self.publication(
            topic,
            payload,
            context,
            publisher=publisher,
            qos=qos,
            content_type=content_type,
            properties=properties,
            expires_ms=expires_ms,
            done=done,
        )()

    def publication(
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
        done: Published | None = None,
    ) -> Callable[[], None]:
        """Decide, and return what delivers a message that is no record; it raises nothing.

        It goes to whoever listens then. With QoS 1 and 2 it is logged where durable
        sessions want it, and everybody gets it from there.

        Args:
            topic: Where to.
            payload: As it is sent.
            context: Who publishes.
            publisher: Who may be paused when a subscriber cannot keep up.
            qos: 0 to 2.
            content_type: Of the payload, ``""`` when nothing was said.
            properties: See `lyredb.plugins.delivery.Message`.
            expires_ms: Epoch ms after which it is void, 0 for never.
            done: Called once: with ``None`` when it is delivered, or on disk where it is
                logged, or with the error for which it could not be logged.

        Raises:
            InvalidTopic, UnknownTopic, NotAuthorised: It may not be published.
        """
        self._require_own_loop()
        encoded = topic.encode()
        ingress = self.ingress(context)
        path = ingress.path(encoded)
        message = Message.direct(
            encoded,
            payload,
            path.destination,
            qos=qos,
            content_type=content_type,
            properties=properties,
            session=context.session,
            expires_ms=expires_ms,
        )

        def deliver() -> None:
            if qos and self._hub.durable.match(encoded):
                self._log.log_one(path.destination, message, context, done)
                return
            ingress.push(path, message, publisher)
            if done is not None:
                done(None)

        return deliver

    def subscribe(
        self,
        filter: str,
        subscriber: Subscriber,
        context: Context,
        options: SubscribeOptions,
        after: str = "",
    ) -> Subscription:
        """Prepare a subscription; nothing is sent before its ``start()``.

        Args:
            filter: A topic filter (MQTT 5 §4.7); exact topics are filters too.
            subscriber: Where messages go.
            context: Whose rights decide.
            options: How it is served.
            after: Position token to resume after; ``""`` starts with current state.

        Raises:
            InvalidTopic: The filter is not legal.
            UnknownTopic: It names a topic or table that does not exist.
            NotAuthorised: The principal may not subscribe to what it names.
        """
        self._require_own_loop()
        return self.subscriptions.prepare(filter, subscriber, context, options, after)

    def drained(self, subscriber: Subscriber) -> None:
        """Called by a subscriber that can take more again."""
        self._hub.drained(subscriber)

    def identify(self, context: Context) -> Context:
        """Return a context with its decision class; see `Access.identify`."""
        return self._access.identify(context)

    def is_outdated(self, principal: Principal) -> bool:
        """Tell whether a context has to be made again; see `Access.is_outdated`."""
        return self._access.is_outdated(principal)

    def access_changed(self, principal: Principal) -> None:
        """Ask again what somebody may read and publish; what it may not any more ends now.

        Args:
            principal: Changed are the rights of everybody whose principal has its name.
        """
        self._hub.access_changed(principal)
        self.subscriptions.access_changed(principal)
        for callback in self._on_access_change:
            callback(principal)

    def tables_changed(self, tables: Iterable[StoredTable]) -> None:
        """Serve by another schema from now on.

        Subscriptions go on with what their filters reach by it, and end where that is
        nothing.

        Raises:
            InvalidTopic: Two tables are exported by the same path; nothing has changed.
        """
        self.registry.replace(tables)
        self._hub.topics_changed()
        self.subscriptions.tables_changed()

    def on_access_change(self, callback: Callable[[Principal], None]) -> None:
        """Have ``callback`` called with whose rights have changed, when the new ones hold.

        For what a protocol has decided ahead of its time; it may not raise.
        """
        self._on_access_change.append(callback)

    def end_user(self, user: str, reason: Exception) -> None:
        """End the subscriptions that a user's logins carry: they are void now."""
        self.subscriptions.end_user(user, reason)

    def close(self) -> None:
        """End all subscriptions that are still open, and part from the other workers."""
        self.subscriptions.end_all(ServerStopping("the server is shutting down"))
        self._hub.peers.close()

    async def settle(self) -> None:
        """Wait for writes whose blobs are being written, and have no more taken."""
        await self._intake.close()
        self.blobs.close()
