"""Whatever is cut, what a client has put together is what is stored."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from lyredb.protocols.sse.plugin import SsePlugin
from tests.protocols.node import TestNode, serving
from tests.protocols.sse.test_sse import Event, Source, source

KEYS = [f"k{number}" for number in range(40)]
WRITES = 300


async def write_at_random(node: TestNode, chance: random.Random) -> None:
    for number in range(WRITES):
        key = chance.choice(KEYS)
        if chance.random() < 0.2:
            await node.delete(f"Sensor/{key}")
        else:
            await node.put(f"Sensor/{key}", {"n": number, "pad": "x" * chance.randrange(2_000)})
        if chance.random() < 0.3:
            await asyncio.sleep(0)
    await node.put("Sensor/last", {"n": WRITES})


def take(state: dict[str, Any], versions: dict[str, float], event: Event) -> bool:
    """Apply one event; True for the last one. A version never comes twice nor goes back."""
    told = event.envelope
    key, version = str(told["id"]), told["version"]
    assert isinstance(version, float | int)
    assert version > versions.get(key, 0.0), f"{key} came twice or went back"
    versions[key] = version
    if told["type"] == "delete":
        state.pop(key, None)
    else:
        state[key] = told["value"]
    return key == "last"


async def follow(node: TestNode, chance: random.Random) -> dict[str, Any]:
    """Read, cut the connection at random places, also within the current state, resume."""
    state: dict[str, Any] = {}
    versions: dict[str, float] = {}
    last = ""
    while True:
        stream: Source = await source(node, "/Sensor/", last=last)
        for _ in range(chance.randrange(1, 60)):
            event = await stream.next()
            last = event.id or last
            if event.event == "ready":
                continue
            assert event.event == "message"
            if take(state, versions, event):
                return state
        stream.client.writer.close()


@pytest.mark.parametrize("seed", range(4))
def test_resumes_at_random_places_miss_nothing_and_repeat_nothing(seed: int) -> None:
    async def body() -> None:
        chance = random.Random(seed)
        async with serving(SsePlugin()) as node:
            for key in KEYS:
                await node.put(f"Sensor/{key}", {"n": -1, "pad": "y" * 3_000})
            writing = asyncio.create_task(write_at_random(node, random.Random(seed + 100)))
            async with asyncio.timeout(30):
                state = await follow(node, chance)
            await writing
            stream = await source(node, "/Sensor/")
            stored = {
                str(one.envelope["id"]): one.envelope["value"] for one in await stream.until_ready()
            }
            assert state == stored

    asyncio.run(body())
