"""A node: engine, sequencer, tables, tail, delivery and resources, put together.

Everything of one data directory, as protocols and code use it. In one process (`open`:
``lyredb.open()``, ``lyredb dev``) the writer runs inline: a group of writes is committed on
the event loop, which waits for the disk meanwhile (at most about 20 ms a group). In a
worker beside a writer process (`attach`) the store is open for reading, and writes are sent
there. All else is the same.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from lyredb.delivery.hub import Hub
from lyredb.delivery.peers import DEFAULT_LIMITS, PeerLimits
from lyredb.delivery.tail import Tail
from lyredb.resources.access import Access
from lyredb.resources.access_watch import watch_roles
from lyredb.resources.database import Database
from lyredb.resources.registry import Registry
from lyredb.resources.schema_watch import watch_schema
from lyredb.security.roles import Roles
from lyredb.server.store import WILL_GRACE_S, Store, next_tick
from lyredb.sessions.following import follow_sessions
from lyredb.storage.engine import Engine
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.remote.local import LocalCalls
from lyredb.storage.sequencer import Calls, Sequencer
from lyredb.storage.settings import StorageSettings
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.query.costs import DEFAULT_LIMITS as DEFAULT_QUERY_LIMITS
from lyredb.tables.query.costs import QueryLimits
from lyredb.tables.schema import Schema
from lyredb.tables.stored import StoredTable

DRAIN_S: Final = 0.8
"""At a close, for the answers to writes that are under way."""


class Node:
    """One open data directory with everything that works on it.

    Attributes:
        engine: The store.
        writer: The sequencer of all writes.
        calls: Questions to the side of the writer.
        tail: Delivers what the log gets.
        hub: Who gets what.
        registry: Which path is what.
        roles: What each role may do.
        access: Who may do what.
        database: What protocols and code use.
        store: The writing half, ``None`` when another process has it.
        remote: The stream to it, ``None`` when this process has it.
    """

    def __init__(
        self,
        engine: Engine,
        writer: Sequencer,
        catalogue: Catalogue,
        calls: Calls,
        *,
        open_topics: bool,
        peer_limits: PeerLimits = DEFAULT_LIMITS,
        query_limits: QueryLimits = DEFAULT_QUERY_LIMITS,
        passed: Callable[[int], bool] | None = None,
    ) -> None:
        schedule = next_tick(asyncio.get_running_loop())
        self.engine = engine
        self.writer = writer
        self.catalogue = catalogue
        self.calls = calls
        self.store: Store | None = None
        self.remote: RemoteWriter | None = None
        registry = self.registry = Registry(catalogue.by_slot.values(), open_topics=open_topics)
        self.roles = Roles(engine, writer)
        access = self.access = Access(registry, self.roles)
        self.hub = Hub(
            access,
            registry,
            catalogue.by_slot,
            schedule_flush=schedule,
            peer_limits=peer_limits,
        )
        self.tail = Tail(engine, self.hub, schedule=schedule)
        writer.on_commit(self.tail.poke)
        self.database = Database(
            engine, writer, registry, access, self.hub, self.tail, query_limits, passed=passed
        )
        follow_sessions(engine, self.tail, self.hub.durable)
        watch_roles(self.tail, self.roles, self.database)
        watch_schema(self.tail, self._reread, self.database)
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        schema: Schema,
        *,
        storage: StorageSettings | None = None,
        open_topics: bool | None = None,
        query_limits: QueryLimits = DEFAULT_QUERY_LIMITS,
        will_grace_s: float = WILL_GRACE_S,
    ) -> Node:
        """Open or make the data directory and bring its tables to the schema.

        Must be called in a running event loop, which becomes the node's.

        Args:
            path: The data directory; made (0700) when missing.
            schema: The tables. Tables of an earlier schema stay, not exported.
            storage: Limits of the store.
            open_topics: Whether unknown topics are records of ``data.Topic``;
                ``None``: only when the schema has no tables.
            query_limits: What one query may cost.
            will_grace_s: As in `Store.serve`.

        Raises:
            DataDirectoryInUse, FormatMismatch, SchemaError, StorageError.
        """
        store = Store.open(path, schema, storage=storage)
        try:
            local = LocalCalls(asyncio.get_running_loop())
            store.serve(local.service, will_grace_s=will_grace_s)
            wanted = not schema.tables if open_topics is None else open_topics
            node = cls(
                store.engine,
                store.writer,
                store.catalogue,
                local.calls,
                open_topics=wanted,
                query_limits=query_limits,
            )
        except BaseException:
            store.engine.close()
            raise
        node.store = store
        return node

    @classmethod
    def attach(
        cls,
        path: Path,
        *,
        worker: int,
        stream: socket.socket,
        storage: StorageSettings | None = None,
        open_topics: bool = False,
        peer_limits: PeerLimits = DEFAULT_LIMITS,
        query_limits: QueryLimits = DEFAULT_QUERY_LIMITS,
        passed: Callable[[int], bool] | None = None,
    ) -> Node:
        """Read a data directory that another process writes, and send it what to write.

        Must be called in a running event loop, which becomes the node's.

        Args:
            path: The data directory, whose tables are those that the writer has made.
            worker: The number of this process, from 1.
            stream: Connected to the writer; the node's from now on.
            storage: Limits of the store.
            open_topics: Whether unknown topics are records of ``data.Topic``.
            peer_limits: What is bounded between this worker and the others.
            query_limits: What one query may cost.
            passed: Tells whether all workers have told the log up to a position; ``None``:
                there are no others.

        Raises:
            FormatMismatch, SchemaError, StorageError.
        """
        engine = Engine.open(path, settings=storage or StorageSettings(), readonly=True)
        try:
            catalogue = Catalogue.read(engine)
            remote = RemoteWriter(engine, worker, loop=asyncio.get_running_loop())
            remote.attach(stream)
            node = cls(
                engine,
                remote,
                catalogue,
                remote.calls,
                open_topics=open_topics,
                peer_limits=peer_limits,
                query_limits=query_limits,
                passed=passed,
            )
        except BaseException:
            engine.close()
            raise
        node.remote = remote
        remote.before_send = node.hub.flush_to_peers
        node.hub.tail_may_lead = True
        return node

    def _reread(self) -> Iterable[StoredTable]:
        """Take the tables from the store; at a schema entry, before later ones are told."""
        self.catalogue.reread(self.engine)
        return self.catalogue.by_slot.values()

    async def close(self) -> None:
        """Have written what waits, tell it to subscribers, end them, close the store."""
        if self._closed:
            return
        self._closed = True
        await self.database.settle()
        await self.writer.drain(DRAIN_S)
        if self.remote is not None:
            self.engine.refresh()
        self.tail.advance_to(self.engine.position)
        self.hub.flush()
        self.database.close()
        if self.store is not None:
            await self.store.close()
        self.engine.close()
