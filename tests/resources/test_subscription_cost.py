"""What a subscription leaves to the garbage collector: a million may be open, and end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from lyredb.resources.requests import SubscribeOptions
from lyredb.resources.subscription import State, Subscription
from lyredb.server.node import Node
from tests.resources.node_under_test import (
    CONTEXT,
    ENCODING,
    Collector,
    data_directory,
    open_node,
    write_of,
)

COUNT = 300
CURRENT = SubscribeOptions(ENCODING)
LATER = SubscribeOptions(ENCODING, omit_current=True)


def run(body: Callable[[Node], None]) -> None:
    async def whole() -> None:
        with data_directory() as path:
            node = open_node(path)
            try:
                await node.database.write(write_of(node, "a", 1), CONTEXT)
                body(node)
            finally:
                await node.close()

    asyncio.run(whole())


def subscribe(node: Node, options: SubscribeOptions, name: str) -> list[Subscription]:
    """So many filters of one subscriber, all of them live."""
    collector, made = Collector(), []
    for number in range(COUNT):
        made.append(node.database.subscribe(f"Sensor/{name}{number}", collector, CONTEXT, options))
        made[-1].start()
    assert all(one.state is State.LIVE for one in made)
    return made


@pytest.mark.parametrize("options", [LATER, CURRENT], ids=["later", "current"])
def test_a_live_subscription_is_a_few_objects(options: SubscribeOptions) -> None:
    """The subscription, how it has begun, its node: what it has read with is gone."""

    def body(node: Node) -> None:
        subscribe(node, options, "a")[0].close()
        gc.collect()
        before = len(gc.get_objects())
        made = subscribe(node, options, "b")
        gc.collect()
        assert len(gc.get_objects()) - before < 3.2 * len(made)

    run(body)


@pytest.mark.parametrize("options", [LATER, CURRENT], ids=["later", "current"])
def test_a_closed_subscription_leaves_no_cycle(options: SubscribeOptions) -> None:
    """What comes and goes is freed at once, not when the collector has looked at all others."""

    def body(node: Node) -> None:
        subscribe(node, options, "a")
        gc.collect()
        gc.disable()
        try:
            made = subscribe(node, options, "b")
            for one in made:
                one.close()
            made.clear()
            del one
            assert gc.collect() < COUNT
        finally:
            gc.enable()

    run(body)
