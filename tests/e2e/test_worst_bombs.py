"""Bombs at the real server, over HTTP, WebSocket and MQTT: each costs little, and it goes on.

The costs are those of all its processes; ``make worst`` shows each of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.load.spec import Target
from bench.worst import bombs
from bench.worst.cost import REMEMBER
from tests.e2e.server_process import PASSWORD, USER, ServerProcess, running_server

MARGIN = 2
"""Of the time: the measure is for a machine at rest, and tests run beside others."""
TRIES = 3
SCHEMA = """
type Bench @table @export {
  id: ID @primaryKey
  seq: Int
  text: String
}
"""
BOMBS = {
    "http": bombs.http_bombs,
    "websocket": bombs.websocket_bombs,
    "mqtt": bombs.mqtt_bombs,
}


@pytest.fixture(scope="module")
def target() -> Iterator[tuple[ServerProcess, Target]]:
    """A server that has hashed its password already, and takes compressed messages."""
    with running_server(SCHEMA, environment=bombs.DEFLATE | REMEMBER) as server:
        found = Target(
            port=server.mqtt_port,
            pid=server.process.pid,
            username=USER,
            password=PASSWORD,
            http_port=server.http_port,
        )
        bombs.put(bombs.JSON, b"{}")(found)
        yield server, found


@pytest.mark.parametrize("way", BOMBS)
def test_bombs_cost_little_and_the_same_processes_go_on(
    target: tuple[ServerProcess, Target], way: str
) -> None:
    """All of one way in one test: to make them takes longer than to throw them."""
    server, place = target
    before = server.pids
    dear = {}
    for name, throw in BOMBS[way]().items():
        costs = [bombs.cost_of(place, throw) for _ in range(TRIES)]
        cpu_ms = min(cost.cpu_ms for cost in costs)
        growth = max(cost.growth_bytes for cost in costs)
        if cpu_ms > bombs.CPU_MS * MARGIN or growth > bombs.GROWTH_BYTES:
            dear[name] = (cpu_ms, growth)
    assert not dear, dear
    assert server.pids == before, "a process was lost"
    assert "Traceback" not in server.errors()
