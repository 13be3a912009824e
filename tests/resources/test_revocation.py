"""Rights that change while somebody uses them: felt in order, by whatever is under way."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import NotAuthorised
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message
from lyredb.resources.access_watch import watch_users
from lyredb.resources.requests import Write
from lyredb.resources.subscription import State, Subscription
from lyredb.security.authenticator import Authenticator
from lyredb.security.passwords import Passwords
from lyredb.security.principals import Role
from lyredb.security.rights import RoleDefinition, TableRights
from lyredb.security.users import User, Users
from lyredb.server.node import Node
from lyredb.storage.mutation import Kind
from lyredb.tables.query.terms import Query
from lyredb.tables.sdl import parse_sdl
from tests.resources.node_under_test import CONTEXT, Collector

SDL = """
type Open @table @export { id: ID @primaryKey value: Int }
type Secret @table @export { id: ID @primaryKey value: Int }
"""
READ = TableRights(read=True)
ALL = TableRights(read=True, insert=True, update=True, delete=True)
Tables = Sequence[str]


class World:
    """A node with two tables, and a role whose rights on them change."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.context = Context(Role("r"), "mqtt", user="ada", session=7)

    async def allow(self, *tables: str, rights: TableRights = READ) -> int:
        databases = {"data": dict.fromkeys(tables, rights)}
        return await self.node.roles.put(RoleDefinition("r", databases=databases))

    async def put(self, table: str, record_id: str, value: int = 1) -> None:
        target = self.node.database.resolve(f"{table}/{record_id}", CONTEXT)
        await self.node.database.write(Write(target, "put", {"value": value}), CONTEXT)

    async def delete(self, table: str, record_id: str) -> None:
        target = self.node.database.resolve(f"{table}/{record_id}", CONTEXT)
        await self.node.database.write(Write(target, "delete"), CONTEXT)

    def publish(self, topic: str, payload: bytes = b"hello") -> None:
        self.node.database.publish(topic, payload, CONTEXT)

    def subscribe(self, topic_filter: str, collector: Collector, after: str = "") -> Subscription:
        options = collector.options(omit_current=False)
        return self.node.database.subscribe(topic_filter, collector, self.context, options, after)

    async def settle(self) -> None:
        """Until the tail has told everything and nobody reads any more."""
        async with asyncio.timeout(20):
            while True:
                await asyncio.sleep(0)
                reading = [
                    one
                    for one in self.node.database.subscriptions
                    if one.state in (State.ANNOUNCED, State.READING)
                    and not one.subscriber.is_congested
                ]
                if self.node.tail.position == self.node.engine.position and not reading:
                    self.node.hub.flush()
                    return


def run(body: Callable[[World], Coroutine[None, None, None]]) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            node = Node.open(Path(folder) / "data", parse_sdl(SDL))
            try:
                await body(World(node))
            finally:
                await node.close()

    asyncio.run(whole())


def told(collector: Collector) -> list[tuple[str, str]]:
    return [(message.topic.decode(), message.kind) for message in collector.messages]


def test_a_live_subscription_ends_with_its_right_before_the_next_event() -> None:
    async def body(world: World) -> None:
        await world.allow("Secret")
        collector = Collector()
        world.subscribe("Secret/#", collector).start()
        await world.settle()
        await world.put("Secret", "a")
        await asyncio.gather(world.allow(), world.put("Secret", "b"), world.delete("Secret", "a"))
        await world.settle()
        world.publish("Secret/a")
        await world.settle()
        assert told(collector) == [("Secret/a", "put")]
        assert isinstance(collector.closed, NotAuthorised)

    run(body)


def test_what_was_told_before_the_change_still_arrives() -> None:
    async def body(world: World) -> None:
        await world.allow("Secret")
        collector = Collector()
        world.subscribe("Secret/#", collector).start()
        await world.settle()
        await asyncio.gather(world.put("Secret", "a"), world.allow(), world.put("Secret", "b"))
        await world.settle()
        assert told(collector) == [("Secret/a", "put")]

    run(body)


def test_a_subscription_of_several_tables_keeps_what_is_left() -> None:
    async def body(world: World) -> None:
        await world.allow("Open", "Secret")
        collector = Collector()
        world.subscribe("#", collector).start()
        await world.settle()
        await world.allow("Open")
        for table in ("Open", "Secret"):
            await world.put(table, "a")
            world.publish(f"{table}/b")
            await world.delete(table, "a")
        await world.settle()
        assert sorted(told(collector)) == [
            ("Open/a", "delete"),
            ("Open/a", "put"),
            ("Open/b", "message"),
        ]
        assert collector.closed is None

    run(body)


def test_a_right_that_begins_brings_later_changes_and_not_earlier_ones() -> None:
    """The role is known before its right is: what lies between the two is not told."""

    async def body(world: World) -> None:
        await world.allow("Open")
        collector = Collector()
        world.subscribe("#", collector).start()
        await world.settle()
        await asyncio.gather(
            world.put("Secret", "early"), world.allow("Open", "Secret"), world.put("Secret", "late")
        )
        await world.settle()
        assert told(collector) == [("Secret/late", "put")]

    run(body)


def test_a_scan_sends_nothing_of_a_table_whose_right_has_ended() -> None:
    """The step that reads it comes after the commit and before the tail tells it."""

    async def body(world: World) -> None:
        await world.allow("Open", "Secret")
        for number in range(300):
            await world.put("Secret", f"{number:04}")
        await world.put("Open", "a")
        collector = Collector()
        collector.is_congested = True
        subscription = world.subscribe("#", collector)
        subscription.start()
        await world.settle()
        assert collector.messages == []
        position = await world.allow("Open")
        if world.node.tail.position >= position:
            pytest.fail("the tail was told before the step: the test proves nothing")
        collector.is_congested = False
        subscription._pump()
        await world.settle()
        assert told(collector) == [("Open/a", "put")]
        assert subscription.state is State.LIVE

    run(body)


def test_messages_that_wait_for_a_scan_are_not_sent_after_the_right_has_ended() -> None:
    async def body(world: World) -> None:
        await world.allow("Open", "Secret")
        collector = Collector()
        collector.is_congested = True
        subscription = world.subscribe("#", collector)
        subscription.start()
        await world.settle()
        world.publish("Secret/a")
        world.publish("Open/a")
        world.node.hub.flush()
        await world.allow("Open")
        await world.settle()
        collector.is_congested = False
        subscription.resume()
        await world.settle()
        assert told(collector) == [("Open/a", "message")]

    run(body)


def test_messages_that_wait_are_not_sent_when_the_whole_right_ends() -> None:
    async def body(world: World) -> None:
        await world.allow("Secret")
        collector = Collector()
        collector.is_congested = True
        world.subscribe("Secret/#", collector).start()
        await world.settle()
        world.publish("Secret/a")
        world.node.hub.flush()
        await world.allow()
        await world.settle()
        assert told(collector) == []
        assert isinstance(collector.closed, NotAuthorised)

    run(body)


def test_a_message_behind_a_write_is_not_told_when_the_right_ended_before_that_write() -> None:
    """It was sent while the right stood, and waits for a write that comes too late."""

    async def body(world: World) -> None:
        await world.allow("Secret")
        collector = Collector()
        world.subscribe("Secret/#", collector).start()
        await world.settle()
        under_way = [
            asyncio.ensure_future(world.allow()),
            asyncio.ensure_future(world.put("Secret", "a")),
        ]
        await asyncio.sleep(0)
        world.publish("Secret/a")
        await asyncio.gather(*under_way)
        await world.settle()
        assert told(collector) == []

    run(body)


def test_a_subscription_that_was_prepared_is_not_started_without_its_right() -> None:
    async def body(world: World) -> None:
        await world.allow("Secret")
        await world.put("Secret", "a")
        await world.settle()
        collector = Collector()
        subscription = world.subscribe("Secret/#", collector)
        await world.allow()
        await world.settle()
        subscription.start()
        await world.settle()
        assert told(collector) == []
        assert isinstance(collector.closed, NotAuthorised)

    run(body)


def test_a_resume_is_decided_by_the_rights_of_today() -> None:
    async def body(world: World) -> None:
        await world.allow("Secret")
        collector = Collector()
        subscription = world.subscribe("Secret/#", collector)
        subscription.start()
        await world.settle()
        subscription.close()
        await world.put("Secret", "a")
        await world.allow()
        await world.settle()
        with pytest.raises(NotAuthorised):
            world.subscribe("Secret/#", Collector(), collector.ready[0])

    run(body)


def test_a_publisher_loses_its_path_with_its_right() -> None:
    async def body(world: World) -> None:
        await world.allow("Secret", rights=ALL)
        collector = Collector()
        world.node.database.subscribe("#", collector, CONTEXT, collector.options()).start()
        await world.settle()
        publish = world.node.database.publish
        publish("Secret/a", b"1", world.context)
        ingress = world.node.database.ingress(world.context)
        assert b"Secret/a" in ingress.paths
        await world.allow("Secret")
        await world.settle()
        assert ingress.paths == {}
        with pytest.raises(NotAuthorised):
            publish("Secret/a", b"2", world.context)
        assert [message.payload for message in _messages(collector)] == [b"1"]

    run(body)


class _Plain:
    """A format that leaves bytes as they are."""

    name = "plain"
    media_type = ""

    def encode(self, value: object) -> bytes:
        return str(value).encode()

    def decode(self, data: bytes) -> object:
        return data


class _Read:
    def __init__(self, message: Message) -> None:
        self.payload = message.payload(_Plain())


def _messages(collector: Collector) -> list[_Read]:
    return [_Read(message) for message in collector.messages if message.kind == "message"]


def test_a_long_answer_ends_where_the_right_to_it_ends() -> None:
    async def body(world: World) -> None:
        await world.allow("Secret")
        for number in range(10):
            await world.put("Secret", f"{number}")
        await world.settle()
        target = world.node.database.resolve("Secret/", world.context)
        found = world.node.database.search(target, Query(), world.context)
        assert next(found) is not None
        await world.allow()
        await world.settle()
        with pytest.raises(NotAuthorised):
            list(found)

    run(body)


@pytest.mark.parametrize("how", ["role", "password", "inactive", "deleted"])
def test_a_change_of_a_user_ends_what_its_logins_carry(how: str) -> None:
    """Connections are told first; subscriptions that nobody ended end in any case."""

    async def body(world: World) -> None:
        await world.allow("Open", "Secret")
        node = world.node
        users = Users(node.engine, node.writer)
        authenticator = Authenticator(users, Passwords())
        watch_users(node.tail, authenticator, node.database)
        await node.roles.put(RoleDefinition("other", databases={"data": {"*": READ}}))
        await users.put(User("ada", "hash", "r"))
        collector = Collector()
        order: list[str] = []
        authenticator.revocations.watch("ada", order.append)
        authenticator.revocations.watch("bob", order.append)
        world.subscribe("#", collector).start()
        await world.settle()
        change = {
            "role": users.update("ada", role="other"),
            "password": users.update("ada", password="other"),
            "inactive": users.update("ada", active=False),
            "deleted": users.delete("ada"),
        }
        chosen = change.pop(how)
        for other in change.values():
            other.close()
        await asyncio.gather(chosen, world.put("Open", "a"))
        await world.settle()
        assert len(order) == 1
        assert told(collector) == []
        assert isinstance(collector.closed, NotAuthorised)
        await authenticator.close()

    run(body)


def test_one_subscription_that_fails_leaves_no_other_with_its_right(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Collector):
        def close(self, reason: Exception) -> None:
            raise RuntimeError("broken")

    async def body(world: World) -> None:
        await world.allow("Secret")
        broken, whole = Broken(), Collector()
        for collector in (broken, whole):
            world.subscribe("Secret/#", collector).start()
        await world.settle()
        await world.allow()
        await world.put("Secret", "a")
        await world.settle()
        assert told(broken) == told(whole) == []
        assert isinstance(whole.closed, NotAuthorised)

    run(body)
    assert "could not be decided" in caplog.text


Step = tuple[Literal["allow", "put", "delete", "publish", "subscribe", "pause", "tick"], int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["allow", "put", "put", "delete", "publish", "subscribe", "pause", "tick"]),
        st.integers(0, 7),
    ),
    min_size=8,
    max_size=60,
)
RIGHTS_TRIED: list[Tables] = [(), ("Open",), ("Secret",), ("Open", "Secret")]
FILTERS = ["#", "Secret/#", "+/1", "Secret/2", "Open/#"]


class Watchful(Collector):
    """Notes for each message what the role might read when it was told.

    Attributes:
        committed: By what was in the store.
        told: By what the tail had told.
    """

    def __init__(self, node: Node) -> None:
        super().__init__()
        self._node = node
        self.committed: list[bool] = []
        self.told: list[bool] = []

    def write_messages(self, messages: Sequence[Message]) -> None:
        super().write_messages(messages)
        role = self._node.roles.find("r")
        for message in messages:
            database, _, table = message.table.partition(".")
            self.committed.append(role is not None and role.rights(database, table).read)
            self.told.append(self._node.roles.rights("r", message.table).read)


@settings(max_examples=15)
@given(steps)
def test_nothing_reaches_who_may_not_read_it_however_rights_change(plan: list[Step]) -> None:
    """Writes, messages, scans and changes of rights in any order, mostly in one group.

    Current state: readable by what is committed when it is told. A change: readable by
    the rights that stood in the log before it. A message: by what the tail had told when
    it was sent or, behind a write of its record, when it was its turn.
    Somebody whose rights never change gets every write, so silence is no way to pass.
    """

    async def body(world: World) -> None:
        node = world.node
        await node.roles.put(RoleDefinition("steady", databases={"data": {"*": READ}}))
        await world.allow("Secret")
        await world.settle()
        steady = Collector()
        node.database.subscribe(
            "#", steady, Context(Role("steady"), "mqtt"), steady.options()
        ).start()
        await world.settle()
        readers: list[tuple[Watchful, Subscription]] = []
        pushed: dict[bytes, bool] = {}
        under_way: list[asyncio.Task[object]] = []
        for action, number in plan:
            table = ("Open", "Secret")[number % 2]
            record_id = str(number // 2)
            match action:
                case "allow":
                    wanted = RIGHTS_TRIED[number % 4]
                    under_way.append(asyncio.ensure_future(world.allow(*wanted)))
                case "put":
                    under_way.append(asyncio.ensure_future(world.put(table, record_id)))
                case "delete":
                    under_way.append(asyncio.ensure_future(world.delete(table, record_id)))
                case "publish":
                    name = b"%d" % len(pushed)
                    pushed[name] = node.roles.rights("r", f"data.{table}").read
                    world.publish(f"{table}/{record_id}", name)
                case "subscribe":
                    reader = Watchful(node)
                    reader.is_congested = number % 3 == 0
                    try:
                        one = world.subscribe(FILTERS[number % 5], reader)
                    except NotAuthorised:
                        continue
                    one.start()
                    readers.append((reader, one))
                case "pause":
                    for reader, one in readers[number % 3 :: 3]:
                        reader.is_congested = not reader.is_congested
                        if not reader.is_congested:
                            one.resume()
                case "tick":
                    for _ in range(number):
                        await asyncio.sleep(0)
        await asyncio.gather(*under_way)
        for reader, one in readers:
            reader.is_congested = False
            one.resume()
        await world.settle()

        by_seq, writes = _rights_in_the_log(node)
        for reader, _ in readers:
            for message, committed, then in zip(
                reader.messages, reader.committed, reader.told, strict=True
            ):
                if message.current:
                    assert committed, message.topic
                elif message.seq:
                    assert message.table in by_seq[message.seq], message.topic
                else:
                    assert then or pushed[message.payload(_Plain())], message.topic
        assert [message.seq for message in steady.messages if message.seq] == writes

    run(body)


def _rights_in_the_log(node: Node) -> tuple[dict[int, frozenset[str]], list[int]]:
    """What role r could read, by position in the log, and the positions of all writes."""
    by_seq: dict[int, frozenset[str]] = {}
    writes: list[int] = []
    tables: frozenset[str] = frozenset()
    slots = {table.slot: table.name for table in node.registry.tables.values()}
    with node.engine.snapshot() as snapshot:
        entries = list(snapshot.entries(0, limit=100_000))
    for entry in entries:
        if entry.kind is Kind.ACCESS and entry.key == b"r":
            role = node.roles
            role.heed("check", entry.payload)
            tables = frozenset(name for name in slots.values() if role.rights("check", name).read)
        elif entry.kind <= Kind.MESSAGE and slots.get(entry.slot) in ("data.Open", "data.Secret"):
            by_seq[entry.seq] = tables
            writes.append(entry.seq)
    return by_seq, writes
