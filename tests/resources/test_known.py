"""Subscriptions beside other workers: nothing is sent before all of them know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from lyredb.resources.subscription import State, Subscription
from lyredb.server.node import Node
from tests.delivery.workers import Wire, wires
from tests.delivery.world import World
from tests.resources.node_under_test import (
    CONTEXT,
    Collector,
    data_directory,
    open_node,
    write_of,
)


class Other:
    """Another worker, that answers when it is told to."""

    def __init__(self, node: Node) -> None:
        self.world = World()
        self.here, self.there = wires()
        node.hub.peers.attach_link(1, self.here)
        self.world.hub.peers.attach_link(0, self.there)

    async def settle(self, *ends: Wire) -> None:
        """Let the loop turn, and what was sent from these ends arrive."""
        for _ in range(10):
            await asyncio.sleep(0)
            self.world.tick()
            for end in ends:
                end.arrive()


def run(body: Callable[[Node, Other], Coroutine[None, None, None]]) -> None:
    async def whole() -> None:
        with data_directory() as path:
            node = open_node(path)
            try:
                await node.database.write(write_of(node, "a", 1), CONTEXT)
                other = Other(node)
                await other.settle(other.here, other.there)
                await body(node, other)
            finally:
                await node.close()

    asyncio.run(whole())


def subscribe(node: Node, collector: Collector, *, omit_current: bool = False) -> Subscription:
    options = collector.options(omit_current=omit_current)
    return node.database.subscribe("Sensor/a", collector, CONTEXT, options)


@pytest.mark.parametrize("omit_current", [False, True])
def test_a_subscription_begins_when_the_other_workers_know(omit_current: bool) -> None:
    """``ready`` is a promise about messages that are published anywhere after it."""

    async def body(node: Node, other: Other) -> None:
        collector = Collector()
        subscription = subscribe(node, collector, omit_current=omit_current)
        subscription.start()
        await other.settle(other.here)
        assert collector.messages == []
        assert collector.ready == []
        assert subscription.state is State.ANNOUNCED
        await other.settle(other.there)
        assert len(collector.ready) == 1
        assert len(collector.messages) == (not omit_current)
        other.world.send("Sensor/a", "hello")
        await other.settle(other.there)
        assert [one.kind for one in collector.messages][-1] == "message"

    run(body)


def test_whoever_waits_for_the_prepared_can_start_at_once() -> None:
    """The order of MQTT: prepare, wait, answer, start."""

    async def body(node: Node, other: Other) -> None:
        collector, called = Collector(), []
        subscription = subscribe(node, collector)
        node.database.when_known(lambda: called.append(1))
        await other.settle()
        assert called == []
        await other.settle(other.here, other.there)
        assert called == [1]
        subscription.start()
        await other.settle()
        assert len(collector.ready) == 1

    run(body)


def test_what_others_announce_meanwhile_does_not_hold_up_a_start() -> None:
    """Its client was told that nothing is missed from now on, so it misses nothing."""

    async def body(node: Node, other: Other) -> None:
        collector, called = Collector(), []
        subscription = subscribe(node, collector)
        node.database.when_known(lambda: called.append(1))
        await other.settle(other.here, other.there)
        assert called == [1]
        later = Collector()
        node.database.subscribe("Sensor/b", later, CONTEXT, later.options())
        subscription.start()
        assert len(collector.ready) == 1

    run(body)


def test_a_subscription_that_is_closed_while_it_waits_never_begins() -> None:
    async def body(node: Node, other: Other) -> None:
        collector = Collector()
        subscription = subscribe(node, collector)
        subscription.start()
        subscription.close()
        await other.settle(other.here, other.there)
        assert collector.messages == []
        assert collector.ready == []
        other.world.send("Sensor/a", "hello")
        assert other.world.hub.peers.statistics().forwarded == 0
        assert other.world.hub.peers.statistics().wishes == 0

    run(body)


def test_what_is_forwarded_while_one_reads_is_held_in_its_place() -> None:
    """A worker may know before the reading began; the message waits for the records."""

    async def body(node: Node, other: Other) -> None:
        collector = Collector()
        collector.is_congested = True
        subscription = subscribe(node, collector)
        subscription.start()
        await other.settle(other.here, other.there)
        other.world.send("Sensor/a", "hello")
        await other.settle(other.there)
        assert collector.messages == []
        collector.is_congested = False
        subscription.resume()
        await other.settle()
        assert [one.kind for one in collector.messages] == ["put", "message"]

    run(body)
