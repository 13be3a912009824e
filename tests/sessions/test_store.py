"""Opening, closing and losing sessions, over the real engine and writer in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from lyredb.errors import LyreError, Overloaded, SessionTakenOver
from lyredb.resources.logged import LoggedMessage
from lyredb.resources.session_store import SessionStore
from lyredb.server.node import Node
from lyredb.sessions.claims import Refusal
from lyredb.sessions.rows import key_of
from lyredb.sessions.store import Sessions
from lyredb.sessions.stored import SessionState, StoredSession
from lyredb.sessions.stored_inbound import StoredInbound
from lyredb.storage.apply import Rows
from lyredb.storage.layout import SESSION_SLOT
from lyredb.storage.mutation import Mutation
from lyredb.storage.remote.client import RemoteWriter
from lyredb.storage.sequencer import Result, Sequencer
from lyredb.storage.session_row import fence_name, fence_of, progress_name
from lyredb.tables.sdl import parse_sdl
from tests.resources.node_under_test import data_directory
from tests.sessions.clients import (
    Client,
    Connection,
    closed,
    context_of,
    opened,
    payload,
    sessions_of,
    until,
)
from tests.storage.sequencers import connect, remote, writer_that_does_nothing

CONTEXT = context_of("publisher")
SDL = "type Sensor @table @export { id: ID @primaryKey value: Int }"


@asynccontextmanager
async def running() -> AsyncIterator[Node]:
    """A node with open topics."""
    with data_directory() as path:
        node = Node.open(path, parse_sdl(SDL), open_topics=True)
        try:
            yield node
        finally:
            await node.close()


def run(body: Callable[[Node], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with running() as node:
            await body(node)

    asyncio.run(whole())


async def session_of(node: Node, client_id: str = "c", epoch: int = 1) -> StoredSession:
    session = await opened(sessions_of(node), client_id, epoch)
    assert isinstance(session, StoredSession), session
    return session


async def connected(node: Node, client: Client, epoch: int) -> Connection:
    connection = Connection(node, await session_of(node, epoch=epoch), client)
    connection.wake()
    return connection


async def publish(node: Node, topic: str, payload: bytes, qos: int = 1) -> None:
    results: list[LyreError | None] = []
    node.database.publish(topic, payload, context_of("publisher"), qos=qos, done=results.append)
    await until(lambda: bool(results))
    assert results == [None]


class BusyStore:
    """The store of a node, which refuses writes for the moment when told to.

    Attributes:
        is_busy: It refuses.
        refused: How often it has.
    """

    def __init__(self, node: Node) -> None:
        self.is_busy = False
        self.refused = 0
        self._store = node.database.session_store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def submit(
        self, mutations: Sequence[Mutation], rows: Rows, done: Callable[[Result], None]
    ) -> None:
        if self.is_busy:
            self.refused += 1
            done(Overloaded("the writer was started anew; try again"))
        else:
            self._store.submit(mutations, rows, done)


def rows_in(node: Node) -> list[bytes]:
    with node.engine.snapshot() as snapshot:
        return [name for name, _ in snapshot.session_rows(b"s")]


def test_a_session_without_expiry_is_nothing_on_disk() -> None:
    """Clean sessions cost no write."""

    async def body(node: Node) -> None:
        before = node.engine.position
        assert await opened(sessions_of(node), "c", 1, expiry_s=0) is None
        assert node.engine.position == before
        assert rows_in(node) == []

    run(body)


def test_a_session_is_there_again_with_its_subscriptions_and_number() -> None:
    """What a client has subscribed to outlives its connection, and so does its number."""

    async def body(node: Node) -> None:
        connection = await connected(node, Client(), 1)
        assert not connection.session.is_present
        await connection.subscribe("t/#", 1)
        number = connection.session.number
        await connection.end()
        again = await session_of(node, epoch=2)
        assert again.is_present
        assert again.lost == ""
        assert list(again.subscriptions) == ["t/#"]
        assert again.number == again.context.session == number

    run(body)


def test_what_comes_while_a_client_sleeps_is_there_when_it_wakes() -> None:
    """QoS 1 and 2, and records; nothing is copied for it meanwhile."""

    async def body(node: Node) -> None:
        client = Client()
        connection = await connected(node, client, 1)
        await connection.subscribe("t/#", 2)
        await connection.end()
        names = rows_in(node)
        for number in range(20):
            await publish(node, f"t/{number % 3}", str(number).encode(), 1 + number % 2)
        assert rows_in(node) == names
        connection = await connected(node, client, 2)
        await connection.settle()
        got = [payload(one) for one, _ in client.got]
        assert sorted(got, key=int) == [str(number).encode() for number in range(20)]
        assert client.counts().total() == 10
        await connection.end()

    run(body)


def test_clean_start_forgets_the_session_and_its_rows() -> None:
    """[MQTT-3.1.2-4]."""

    async def body(node: Node) -> None:
        connection = await connected(node, Client(), 1)
        await connection.subscribe("t/#", 1)
        connection.session.inbound.commit(
            connection.session.inbound.rows(received=(7,)), lambda _: None
        )
        await connection.end()
        assert len(rows_in(node)) == 2
        fresh = await opened(sessions_of(node), "c", 2, clean_start=True)
        assert isinstance(fresh, StoredSession)
        assert not fresh.is_present
        assert fresh.subscriptions == {}
        number = fresh.number
        assert rows_in(node) == [progress_name(number), fence_name(number)]
        await closed(fresh, 0)
        assert rows_in(node) == []

    run(body)


def test_a_session_of_another_user_is_refused() -> None:
    """Whoever guesses a client identifier gets nothing of what is kept for it."""

    async def body(node: Node) -> None:
        await closed(await session_of(node))
        result = await opened(sessions_of(node), "c", 2, user="mallory", clean_start=True)
        assert result is Refusal.OTHER_USER

    run(body)


def test_an_expired_session_is_absent_and_its_rows_go() -> None:
    """[MQTT-3.1.2-23]: an expired session is not resumed, whoever asks for it."""

    async def body(node: Node) -> None:
        session = await session_of(node)
        await closed(session, 1)
        now_ms = node.engine.now_ms
        node.engine.now_ms = lambda: now_ms() + 2_000
        again = await opened(sessions_of(node), "c", 2, user="bert")
        assert isinstance(again, StoredSession)
        assert not again.is_present
        assert again.number != session.number
        number = again.number
        assert rows_in(node) == [progress_name(number), fence_name(number)]

    run(body)


def test_an_owner_that_was_fenced_writes_nothing_any_more() -> None:
    """Two connections that both believe to have a session: the later epoch has it."""

    async def body(node: Node) -> None:
        old = await session_of(node, epoch=1)
        lost: list[LyreError] = []
        old.on_lost = lost.append
        new = await session_of(node, epoch=2)
        results: list[LyreError | None] = []
        old.outbound.commit(results.append)
        await until(lambda: bool(results))
        assert isinstance(results[0], SessionTakenOver)
        assert old.state is SessionState.LOST
        assert len(lost) == 1
        assert isinstance(await closed(old), SessionTakenOver)
        assert new.state is SessionState.OPEN
        assert await closed(new) is None
        assert await opened(sessions_of(node), "c", 1) is Refusal.SUPERSEDED

    run(body)


def test_one_fenced_session_does_not_cost_others_their_commit() -> None:
    """Commits of many sessions are one transaction, refused for one alone."""

    async def body(node: Node) -> None:
        sessions = sessions_of(node)
        mine = [await opened(sessions, f"c{number}", 1) for number in range(5)]
        await session_of(node, "c2", epoch=2)
        results: dict[int, LyreError | None] = {}
        for number, one in enumerate(mine):
            assert isinstance(one, StoredSession)
            one.outbound.commit(partial(results.__setitem__, number))
        await until(lambda: len(results) == 5)
        assert [number for number, error in results.items() if error is not None] == [2]
        assert len(sessions) == 4

    run(body)


def test_a_client_waits_for_the_next_writer_and_keeps_its_connection() -> None:
    """A commit that was refused for the moment is made with the next look at what changed."""

    async def body(node: Node) -> None:
        store = BusyStore(node)
        looks: list[Callable[[], None]] = []
        sessions = Sessions(
            cast(SessionStore, store),
            call_later=lambda _, look: looks.append(look),
            call_soon=asyncio.get_running_loop().call_soon,
        )
        session = await opened(sessions, "c", 1)
        assert isinstance(session, StoredSession)
        results: list[LyreError | None] = []
        store.is_busy = True
        session.outbound.commit(results.append)
        await until(lambda: store.refused == 1)
        assert (results, session.state) == ([], SessionState.OPEN)
        store.is_busy = False
        looks.pop()()
        await until(lambda: bool(results))
        assert results == [None]

    run(body)


@pytest.mark.parametrize(("deaths", "outcome"), [(1, None), (2, Overloaded)])
def test_a_release_is_asked_of_the_next_writer_once_more(
    tmp_path: Path, deaths: int, outcome: type[LyreError] | None
) -> None:
    """A publisher keeps its connection when a writer dies; nobody asks for ever."""

    async def body() -> None:
        async with remote(tmp_path) as room:
            owner = Writing(room.writer)
            owner.submit((), (fence_of(1, 1),), lambda _: None)
            await until(lambda: owner.done == 1)
            worker = RemoteWriter(room.engine, 9, loop=asyncio.get_running_loop())
            asked = Writing(worker)
            inbound = StoredInbound(1, 1, (), asked.submit)
            results: list[LyreError | None] = []
            for attempt in range(deaths):
                end = await writer_that_does_nothing(room, worker)
                if not attempt:
                    inbound.commit(inbound.rows(released=(7,)), results.append)
                await asyncio.sleep(0)
                end.close()
                await until(lambda: not worker.is_attached)
            assert room.service is not None
            connect(room.service, worker)
            await until(lambda: bool(results))
            assert [type(one) if one else None for one in results] == [outcome]
            assert asked.rows == [inbound.rows(released=(7,))], "who keeps requests asks again"
            await worker.drain(1)

    asyncio.run(body())


class Writing:
    """Submits as a store of sessions does, and notes what."""

    def __init__(self, writer: Sequencer) -> None:
        self.rows: list[Rows] = []
        self.done = 0
        self._writer = writer

    def submit(
        self, mutations: Sequence[Mutation], rows: Rows, done: Callable[[Result], None]
    ) -> None:
        def replied(result: Result) -> None:
            self.done += 1
            done(result)

        self.rows.append(rows)
        self._writer.submit(mutations, replied, session_rows=rows)


def test_who_waits_for_a_busy_writer_is_told_of_the_end() -> None:
    """Closing does not leave a commit behind that nobody answers."""

    async def body(node: Node) -> None:
        store = BusyStore(node)
        loop = asyncio.get_running_loop()
        sessions = Sessions(
            cast(SessionStore, store), call_later=loop.call_later, call_soon=loop.call_soon
        )
        session = await opened(sessions, "c", 1)
        assert isinstance(session, StoredSession)
        results: list[LyreError | None] = []
        store.is_busy = True
        session.outbound.commit(results.append)
        await until(lambda: store.refused == 1)
        assert isinstance(await closed(session), Overloaded)
        assert [type(one) for one in results] == [Overloaded]

    run(body)


def test_inbound_identifiers_outlive_a_crash_and_a_late_owner_adds_none() -> None:
    """A message of QoS 2 and its identifier are one transaction, read back by the next owner."""

    async def body(node: Node) -> None:
        old = await session_of(node, epoch=1)
        old.inbound.commit(old.inbound.rows(received=(1, 2, 3)), lambda _: None)
        old.inbound.commit(old.inbound.rows(released=(2,)), lambda _: None)
        new = await session_of(node, epoch=2)
        assert new.inbound.ids == {1, 3}
        old.inbound.commit(old.inbound.rows(received=(9,)), lambda _: None)
        new.inbound.commit(new.inbound.rows(received=(4,), released=(1,)), lambda _: None)
        third = await session_of(node, epoch=3)
        assert third.inbound.ids == {3, 4}
        await closed(third)
        assert (await session_of(node, epoch=4)).inbound.ids == {3, 4}

    run(body)


def test_a_message_that_a_former_owner_sends_late_is_refused() -> None:
    """Its successor has read which identifiers came: what it does not know would come twice.

    Also after the successor is gone, and where both reach the writer in one commit.
    """

    async def body(node: Node) -> None:
        old = await session_of(node, epoch=1)
        assert await logged(node, old, 1) is None
        new = await session_of(node, epoch=2)
        before = node.engine.position
        assert isinstance(await logged(node, old, 2), SessionTakenOver)
        assert isinstance(await released(old, 1), SessionTakenOver)
        assert node.engine.position == before
        assert await logged(node, new, 2) is None
        assert await released(new, 1) is None
        await closed(new)
        before = node.engine.position
        assert isinstance(await logged(node, old, 3), SessionTakenOver)
        assert node.engine.position == before
        third, late = await asyncio.gather(session_of(node, epoch=3), logged(node, new, 4))
        assert isinstance(late, SessionTakenOver)
        assert third.inbound.ids == {2}

    run(body)


async def logged(node: Node, session: StoredSession, packet_id: int) -> LyreError | None:
    """Log a message of QoS 2 with its identifier."""
    destination = node.database.ingress(session.context).path(b"t/a").destination
    results: list[int | LyreError] = []
    rows = session.inbound.rows(received=(packet_id,))
    message = LoggedMessage(destination, b"1", 2)
    node.database.log((message,), session.context, results.append, rows)
    await until(lambda: bool(results))
    return results[0] if isinstance(results[0], LyreError) else None


async def released(session: StoredSession, packet_id: int) -> LyreError | None:
    """Forget an identifier."""
    results: list[LyreError | None] = []
    session.inbound.commit(session.inbound.rows(released=(packet_id,)), results.append)
    await until(lambda: bool(results))
    return results[0]


def test_deleting_a_session_ends_it_for_its_connection_too() -> None:
    """What operators do; the connection hears of it at its next write."""

    async def body(node: Node) -> None:
        session = await session_of(node)
        done: list[LyreError | None] = []
        sessions_of(node).delete("c", done.append)
        await until(lambda: bool(done))
        assert done == [None]
        assert rows_in(node) == []
        assert node.engine.record(SESSION_SLOT, key_of("c")) is None
        assert isinstance(await closed(session), SessionTakenOver)

    run(body)
