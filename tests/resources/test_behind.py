"""A subscriber that reads too slowly is set aside, and comes back exactly where it was cut."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyredb.plugins.delivery import Message
from lyredb.resources import held
from lyredb.resources.held import Gap, Held, HeldBytes
from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State, Subscription
from lyredb.server.node import Node
from lyredb.storage.mutation import Kind
from lyredb.storage.settings import StorageSettings
from tests.resources.node_under_test import (
    CONTEXT,
    ENCODING,
    Collector,
    data_directory,
    open_node,
    write_of,
)


class Socket(Collector):
    """A subscriber with a buffer: so many messages wait before it is set aside.

    ``messages`` is what the peer has read.
    """

    def __init__(self, limit: int = 4) -> None:
        super().__init__()
        self.limit = limit
        self.buffer: list[Message] = []
        self.most = 0
        self.gaps: list[Gap] = []
        self.subscription: Subscription | None = None

    def subscribe(self, node: Node, topic_filter: str = "Sensor/#") -> Subscription:
        options = SubscribeOptions(
            ENCODING,
            qos=1,
            on_ready=self.ready.append,
            on_reset=self.resets.append,
            on_gap=self.gaps.append,
        )
        self.subscription = node.database.subscribe(topic_filter, self, CONTEXT, options)
        self.subscription.start()
        return self.subscription

    def write_messages(self, messages: Sequence[Message]) -> None:
        was_over = len(self.buffer) > self.limit
        self.buffer += messages
        self.most = max(self.most, len(self.buffer))
        self.is_congested = self.is_congested or len(self.buffer) > self.limit // 2
        if was_over and self.subscription is not None:
            self.subscription.fall_behind()

    def read(self, node: Node, count: int) -> None:
        """The peer reads so many."""
        self.messages += self.buffer[:count]
        del self.buffer[:count]
        if self.is_congested and not self.buffer:
            self.is_congested = False
            node.database.drained(self)
            assert self.subscription is not None
            self.subscription.resume()

    @property
    def changes(self) -> list[int]:
        return [one.seq for one in self.messages if one.kind != "message" and not one.current]

    @property
    def direct(self) -> list[int]:
        return [int(str(one.value())) for one in self.messages if one.kind == "message"]


def logged(node: Node, after: int = 0) -> list[int]:
    """Positions of all changes of the table in the log."""
    slot = node.database.resolve("Sensor/", CONTEXT).table.slot
    with node.engine.snapshot() as snapshot:
        entries = snapshot.entries(after)
    return [one.seq for one in entries if one.slot == slot and one.kind <= Kind.MESSAGE]


def publish(node: Node, number: int) -> None:
    node.database.publish("Sensor/m", str(number).encode(), CONTEXT)


async def catch_up(node: Node, socket: Socket) -> None:
    """Read everything until nothing more comes."""
    async with asyncio.timeout(10):
        while True:
            socket.read(node, len(socket.buffer))
            await asyncio.sleep(0)
            node.tail.advance_to(node.engine.position)
            node.hub.flush()
            assert socket.subscription is not None
            is_live = socket.subscription.state is State.LIVE
            if is_live and not socket.buffer and not node.writer.statistics().waiting:
                return


actions = st.lists(
    st.sampled_from(["write", "write", "publish", "tick", "tick", "read", "read all"]),
    min_size=20,
    max_size=150,
)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one step read a few entries only, so that catching up meets slow reads."""
    monkeypatch.setattr("lyredb.resources.subscription.STEP_BYTES", 120)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(actions, st.integers(0, 6), st.integers(1, 12))
def test_every_change_comes_once_in_order_and_every_lost_message_is_counted(
    steps: list[str], limit: int, size: int
) -> None:
    """However slowly it reads: the changes of the log, each once; messages come or count."""

    async def body() -> None:
        with data_directory() as path:
            node = open_node(path)
            socket = Socket(limit)
            socket.subscribe(node)
            published = 0
            for step in steps:
                match step:
                    case "write":
                        write = write_of(node, f"r{published % 5}", published)
                        node.database.submit(write, CONTEXT, lambda result: None)
                    case "publish":
                        publish(node, published)
                        published += 1
                    case "read":
                        socket.read(node, size)
                    case "read all":
                        socket.read(node, len(socket.buffer))
                    case _:
                        await asyncio.sleep(0)
            await catch_up(node, socket)
            assert socket.changes == logged(node)
            assert socket.direct == sorted(set(socket.direct)), "told twice or out of order"
            assert len(socket.direct) + sum(gap.messages for gap in socket.gaps) == published
            assert len(socket.ready) == 1, "coming back is no news"
            assert not socket.resets
            assert node.database.subscriptions.rooms.held.total == 0
            await node.close()

    asyncio.run(body())


async def _behind(node: Node, socket: Socket) -> None:
    """Have it set aside."""
    assert socket.subscription is not None
    number = 0
    while socket.subscription.state is not State.BEHIND:
        await node.database.write(write_of(node, "a", number), CONTEXT)
        node.tail.advance_to(node.engine.position)
        node.hub.flush()
        number += 1


def in_node(body: Callable[[Node], object], storage: StorageSettings | None = None) -> None:
    async def run() -> None:
        with data_directory() as path:
            node = open_node(path, storage)
            await body(node)  # type: ignore[misc]  # a coroutine function
            await node.close()

    asyncio.run(run())


def test_who_is_set_aside_gets_nothing_and_costs_nothing() -> None:
    """What waits stays as it was, however much is written and published."""

    async def body(node: Node) -> None:
        socket = Socket()
        subscription = socket.subscribe(node)
        await _behind(node, socket)
        waiting = len(socket.buffer)
        assert waiting <= socket.limit + 2
        for number in range(200):
            await node.database.write(write_of(node, "b", number), CONTEXT)
            publish(node, number)
        node.tail.advance_to(node.engine.position)
        node.hub.flush()
        assert len(socket.buffer) == waiting
        assert subscription.state is State.BEHIND
        assert node.hub.statistics().aside == 1
        await catch_up(node, socket)
        assert node.hub.statistics().aside == 0
        assert socket.changes == logged(node)
        assert [gap.messages for gap in socket.gaps] == [200]
        assert socket.most <= waiting + 2

    in_node(body)


def test_gap_says_from_which_to_which_time() -> None:
    async def body(node: Node) -> None:
        socket = Socket()
        socket.subscribe(node)
        await _behind(node, socket)
        fast = Collector()
        node.database.subscribe("Sensor/#", fast, CONTEXT, fast.options()).start()
        for number in range(3):
            publish(node, number)
            await asyncio.sleep(0.003)
        times = [one.local_ms for one in fast.messages if one.kind == "message"]
        await catch_up(node, socket)
        assert socket.gaps == [Gap(3, times[0], times[-1])]
        assert times[0] < times[-1]

    in_node(body)


def test_nothing_missed_is_no_gap_and_later_messages_come() -> None:
    async def body(node: Node) -> None:
        socket = Socket()
        socket.subscribe(node)
        await _behind(node, socket)
        await catch_up(node, socket)
        publish(node, 7)
        await catch_up(node, socket)
        assert socket.direct == [7]
        assert not socket.gaps

    in_node(body)


def test_trimmed_log_gives_current_state_behind_a_mark_and_ready() -> None:
    async def body(node: Node) -> None:
        socket = Socket()
        socket.subscribe(node)
        await _behind(node, socket)
        cut = node.engine.position
        publish(node, 1)
        node.hub.flush()
        async with asyncio.timeout(20):
            while node.engine.floor <= cut + 1:
                writes = [write_of(node, f"x{n:03}", n) for n in range(100)]
                await asyncio.gather(*(node.database.write(one, CONTEXT) for one in writes))
        await catch_up(node, socket)
        assert len(socket.resets) == 1
        assert len(socket.ready) == 2
        assert [gap.messages for gap in socket.gaps] == [1]
        current = [one.id for one in socket.messages if one.current]
        assert current == ["a", *(f"x{n:03}" for n in range(100))]
        await node.database.write(write_of(node, "b", 1), CONTEXT)
        await catch_up(node, socket)
        assert socket.messages[-1].id == "b"

    in_node(body, StorageSettings(segment_bytes=1 << 16, retention_bytes=1 << 17))


def test_closed_while_it_is_set_aside_leaves_nothing_behind() -> None:
    async def body(node: Node) -> None:
        socket = Socket()
        subscription = socket.subscribe(node)
        await _behind(node, socket)
        publish(node, 1)
        subscription.close()
        socket.read(node, len(socket.buffer))
        await asyncio.sleep(0)
        statistics = node.hub.statistics()
        assert (statistics.subscribers, statistics.filters) == (0, 0)
        assert statistics.aside == 0
        assert not socket.gaps

    in_node(body)


def test_messages_held_for_a_stuck_reader_are_bounded_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While it reads current state: it takes no more, and others publish on."""
    monkeypatch.setattr(held, "MAX_HELD_BYTES", 20_000)

    async def body(node: Node) -> None:
        for number in range(100):
            await node.database.write(write_of(node, f"r{number:03}", number), CONTEXT)
        socket = Socket()
        subscription = socket.subscribe(node)
        while not socket.is_congested:  # noqa: ASYNC110  # ticks are what is tested here
            await asyncio.sleep(0)
        assert subscription.state is State.READING
        for number in range(1_000):
            publish(node, number)
            node.hub.flush()
        assert node.database.subscriptions.rooms.held.total <= 20_000  # what is bounded
        await catch_up(node, socket)
        assert [one.id for one in socket.messages if one.current] == [
            f"r{number:03}" for number in range(100)
        ]
        assert len(socket.direct) + sum(gap.messages for gap in socket.gaps) == 1_000
        assert node.database.subscriptions.rooms.held.total == 0

    in_node(body)


def test_what_is_let_go_is_held_no_more() -> None:
    """Else a long reading would count messages that are gone, and drop others for them."""

    async def body(node: Node) -> None:
        fast = Collector()
        node.database.subscribe("Sensor/#", fast, CONTEXT, fast.options()).start()
        publish(node, 1)
        publish(node, 22)
        node.hub.flush()
        first, second = fast.messages
        places = {id(first): (0, b"a"), id(second): (0, b"b")}
        total = HeldBytes()
        holder = Held(lambda one: places[id(one)], lambda one: True, lambda: None, total)
        holder.write_messages([second])
        alone = total.total
        holder.write_messages([first])
        assert total.total > alone > 0
        assert holder.take(lambda slot, key: key == b"a") == [first]
        assert total.total == alone
        assert holder.take_all() == [second]
        assert total.total == 0

    in_node(body)


def test_credit_is_not_renewed_by_coming_back() -> None:
    """Else a reader that is cut and comes back again and again would stop its publishers."""

    class Publisher:
        def __init__(self) -> None:
            self.reasons: Counter[object] = Counter()

        def pause_reading(self, why: object) -> None:
            self.reasons[why] += 1

        def resume_reading(self, why: object) -> None:
            self.reasons[why] -= 1

    async def body(node: Node) -> None:
        socket = Socket(limit=2)
        socket.subscribe(node)
        publisher = Publisher()
        paused_s = 0.0
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 1.0:
            node.database.publish("Sensor/m", b"1", CONTEXT, publisher=publisher)
            node.hub.flush()
            before = loop.time()
            await asyncio.sleep(0.01)
            if publisher.reasons.total():
                paused_s += loop.time() - before
            if random.Random(node.hub.statistics().writes).random() < 0.3:
                socket.read(node, len(socket.buffer))
        assert paused_s < 0.3
        await catch_up(node, socket)
        assert publisher.reasons.total() == 0

    in_node(body)
