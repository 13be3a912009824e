"""Sessions through connects, drops, crashes and acknowledgements in any order.

Against a model of what a client must have in the end: each message of QoS 1 and 2 that was
published while a filter of the session matched it, at least once; those of QoS 2 exactly
once; per topic in the order of their publication.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lyredb.delivery.filters import matches, parse_filter
from lyredb.errors import LyreError
from lyredb.server.node import Node
from lyredb.sessions.stored import StoredSession
from lyredb.tables.sdl import parse_sdl
from tests.sessions.clients import (
    Client,
    Connection,
    context_of,
    opened,
    payload,
    sessions_of,
    until,
)

SDL = "type Sensor @table @export { id: ID @primaryKey value: Int }"
TOPICS = ["t/0", "t/1", "u/0"]
FILTERS = ["t/#", "t/0", "+/0", "u/#"]
T = TypeVar("T")

topics = st.sampled_from(TOPICS)
filters = st.sampled_from(FILTERS)
qualities = st.integers(1, 2)


class SessionMachine(RuleBasedStateMachine):
    """One client, its session, and publishers."""

    @initialize(first=filters, qos=qualities)
    def begin(self, first: str, qos: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.node = self.run(self._open_node())
        self.client = Client()
        self.epoch = 0
        self.count = 0
        self.filters: dict[str, int] = {}
        self.published: list[tuple[bytes, str]] = []
        self.due: dict[bytes, set[str]] = {}
        self.connection: Connection | None = None
        self.connect()
        self.subscribe(first, qos, omit_current=False)

    async def _open_node(self) -> Node:
        path = Path(self.folder.name) / "data"
        return Node.open(path, parse_sdl(SDL), open_topics=True)

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(work)

    # the client's side

    @precondition(lambda self: self.connection is None)
    @rule()
    def connect(self) -> None:
        """Whatever became of the last connection, a later one takes the session up."""
        self.epoch += 1

        async def body() -> Connection:
            session = await opened(sessions_of(self.node), "c", self.epoch)
            assert isinstance(session, StoredSession), session
            assert session.is_present == (self.epoch > 1)
            assert session.lost == ""
            assert {one.filter: one.qos for one in session.subscriptions.values()} == self.filters
            connection = Connection(self.node, session, self.client)
            connection.wake()
            return connection

        self.connection = self.run(body())

    @precondition(lambda self: self.connection is not None)
    @rule(filter=filters, qos=qualities, omit_current=st.booleans())
    def subscribe(self, filter: str, qos: int, omit_current: bool) -> None:
        assert self.connection is not None
        self.run(self.connection.subscribe(filter, qos, omit_current=omit_current))
        self.filters[filter] = qos

    @precondition(lambda self: self.connection is not None and len(self.filters) > 1)
    @rule(filter=filters)
    def unsubscribe(self, filter: str) -> None:
        assert self.connection is not None
        if filter in self.filters:
            self.run(self.connection.unsubscribe(filter))
            del self.filters[filter]
            for owing in self.due.values():
                owing.discard(filter)

    @precondition(lambda self: self.connection is not None)
    @rule(count=st.integers(1, 4))
    def packets_arrive(self, count: int) -> None:
        assert self.connection is not None
        self.connection.deliver(count)

    @precondition(lambda self: self.connection is not None)
    @rule(at=st.integers(0, 5))
    def an_answer_arrives(self, at: int) -> None:
        """Acknowledgements in any order; those of one identifier are in theirs."""
        assert self.connection is not None
        self.connection.answer(at)

    @rule(ticks=st.integers(1, 5))
    def time_passes(self, ticks: int) -> None:
        async def body() -> None:
            for _ in range(ticks):
                await asyncio.sleep(0)

        self.run(body())

    @precondition(lambda self: self.connection is not None)
    @rule()
    def progress_is_written(self) -> None:
        """What happens once a second."""
        assert self.connection is not None

        async def body(session: StoredSession) -> None:
            results: list[LyreError | None] = []
            session.outbound.commit(results.append)
            await until(lambda: bool(results))
            assert results == [None]

        self.run(body(self.connection.session))

    @precondition(lambda self: self.connection is not None)
    @rule()
    def disconnect(self) -> None:
        assert self.connection is not None
        self.run(self.connection.end())
        self.connection = None

    @precondition(lambda self: self.connection is not None)
    @rule()
    def crash(self) -> None:
        """The worker is gone: its rows are as the last commit has left them."""
        assert self.connection is not None
        self.connection.die()
        self.connection = None

    @precondition(lambda self: self.connection is not None)
    @rule()
    def take_over(self) -> None:
        """A second connection has the session while the first one still believes so."""
        old = self.connection
        assert old is not None
        old.drop()
        self.connection = None
        self.connect()
        old.session.outbound.commit(lambda _: None)
        self.time_passes(3)
        old.die()

    # publishers

    @rule(topic=topics, qos=qualities)
    def publish(self, topic: str, qos: int) -> None:
        self.count += 1
        sent = str(self.count).encode()

        async def body() -> None:
            results: list[LyreError | None] = []
            context = context_of("publisher")
            self.node.database.publish(topic, sent, context, qos=qos, done=results.append)
            await until(lambda: bool(results))
            assert results == [None]

        self.due[sent] = {one for one in self.filters if matches(parse_filter(one), topic.encode())}
        self.published.append((sent, topic))
        self.run(body())

    @rule(topic=topics)
    def publish_many(self, topic: str) -> None:
        """More than may wait: the session falls behind and reads them from the log."""
        for _ in range(10):
            self.publish(topic, 1)

    # what must hold

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        try:
            self._check()
        finally:
            self.run(self.node.close())
            self.loop.close()
            self.folder.cleanup()

    def _check(self) -> None:
        if self.connection is None:
            self.connect()
        assert self.connection is not None
        self.run(self.connection.settle())
        got = [payload(message) for message, _ in self.client.got]
        lost = [sent for sent, owing in self.due.items() if owing and sent not in got]
        assert not lost, f"lost {lost}"
        doubles = [sent for sent, count in self.client.counts().items() if count > 1]
        assert not doubles, f"twice at QoS 2: {doubles}"
        for topic in TOPICS:
            self._check_order(topic)

    def _check_order(self, topic: str) -> None:
        """The first copy of each message comes in the order of publication."""
        for qos in (1, 2):
            numbers = [
                int(payload(message))
                for message, sent_with in self.client.got
                if message.topic == topic.encode() and sent_with == qos
            ]
            first = list(dict.fromkeys(numbers))
            assert all(a < b for a, b in pairwise(first)), f"{topic} out of order: {first}"


def test_a_session_neither_loses_nor_doubles_nor_disorders() -> None:
    """See the module."""
    run_state_machine_as_test(
        SessionMachine,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
