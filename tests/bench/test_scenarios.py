"""What the bench measures: every wanted ratio, in bounded time, each server in its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.peers.process import StartFailed
from bench.result import Round
from bench.run import FULL_ROUND_S, SCENARIOS, Scenario
from bench.scenarios import messages
from bench.scenarios.connections import ConnectionScenario
from bench.scenarios.messages import MessageScenario
from bench.scenarios.plan import Contender, Plan, compete
from bench.scenarios.tables import IN_PROCESS_S, ImportScenario, TableScenario
from bench.tables.questions import KINDS

AROUND_A_ROUND_S = 1.0
"""Its process, connections, warm-up and reading back, on a machine that does nothing else."""
AROUND_A_SERVER_S = 2.5
FILLING_S = 40.0
FILLING_A_TABLE_S = 15.0
CONNECTING_S, WAKING_S = 5.0, 15.0
"""10,000 publishers, and one who was away and gets all that was sent meanwhile."""


def plan(order: str) -> Plan:
    return Plan(Path("unused"), round_s=1, order=order, level=4, payload_bytes=64)


def contender(name: str, log: list[str]) -> Contender:
    @contextmanager
    def start() -> Iterator[Callable[[], Round]]:
        def measure() -> Round:
            log.append(name)
            return Round(work=len(log), wall_s=1, server_cpu_s=1)

        yield measure

    return Contender(name, start)


def test_servers_are_measured_in_turns() -> None:
    """LyreDB before and after its peers: a machine that changes its mood shows as a spread."""
    log: list[str] = []
    sides = compete(plan("ABA"), *(contender(name, log) for name in ("LyreDB", "x", "y")))
    assert log == ["LyreDB", "x", "y", "LyreDB"]
    assert [[each.work for each in side.rounds] for side in sides] == [[1, 4], [2], [3]]


def test_the_compiled_form_is_measured_beside_the_plain_one() -> None:
    """Both before and after the peers, and it has a side of its own."""
    log: list[str] = []
    mine, peer = contender("LyreDB", log), contender("x", log)
    sides = compete(plan("ABA"), mine, peer, compiled=contender("LyreDB compiled", log))
    assert log == ["LyreDB", "LyreDB compiled", "x", "LyreDB", "LyreDB compiled"]
    assert [side.name for side in sides] == ["LyreDB", "LyreDB compiled", "x"]


def test_a_peer_that_does_not_start_is_trouble_and_the_others_are_measured() -> None:
    @contextmanager
    def start() -> Iterator[Callable[[], Round]]:
        raise StartFailed("is not installed")
        yield Round

    log: list[str] = []
    mine, missing = compete(plan("ABA"), contender("LyreDB", log), Contender("x", start))
    assert log == ["LyreDB", "LyreDB"]
    assert (mine.trouble, missing.trouble) == ("", "is not installed")


def test_names_of_scenarios_are_unique() -> None:
    """They choose scenarios on the command line and are rows of the page."""
    names = [each.name for each in SCENARIOS]
    assert len(set(names)) == len(names)


def test_durable_writes_are_beside_a_peer_that_waits_for_the_disk() -> None:
    """mosquitto acknowledges from memory: a ratio to it would compare different promises."""
    durable = [each for each in messages.SCENARIOS if each.shape.retain]
    assert durable
    for scenario in durable:
        assert "NATS" in scenario.wanted
        assert "mosquitto" not in scenario.wanted
        assert scenario.filled, "updates are measured, not the growth of an empty store"


def test_a_full_run_takes_less_than_twenty_minutes() -> None:
    """By the length of its rounds and what is around them."""
    assert FULL_ROUND_S >= 5
    plain_s = sum(map(_seconds, SCENARIOS))
    assert plain_s < 20 * 60
    assert plain_s + _compiled_s() < 25 * 60


def _compiled_s() -> float:
    """What the compiled form takes besides, which is measured as the plain one is."""
    several = [each for each in SCENARIOS if isinstance(each, MessageScenario)]
    alone = [replace(each, wanted={}) for each in several]
    return sum(map(_message_seconds, alone))


def _seconds(scenario: Scenario) -> float:
    if isinstance(scenario, ConnectionScenario):
        return (1 + scenario.peer) * (scenario.hold.hold_s + AROUND_A_SERVER_S + 5)
    if isinstance(scenario, ImportScenario):
        assert scenario.records <= 100_000, "more is for a run of its own"
        return FILLING_A_TABLE_S
    if isinstance(scenario, TableScenario):
        assert scenario.records <= 100_000, "more is for a run of its own"
        rounds_s = len(KINDS) * 3 * (FULL_ROUND_S + min(FULL_ROUND_S, IN_PROCESS_S))
        return rounds_s + AROUND_A_SERVER_S + FILLING_A_TABLE_S
    if isinstance(scenario, MessageScenario):
        return _message_seconds(scenario)
    return 3 * (FULL_ROUND_S + AROUND_A_ROUND_S) + 2 * AROUND_A_SERVER_S


def _message_seconds(scenario: MessageScenario) -> float:
    shape, peers = scenario.shape, len(scenario.wanted)
    fills = scenario.filled and shape.topics > 100_000
    around_s = AROUND_A_ROUND_S + (shape.away > 0) * WAKING_S
    around_s += (shape.publishers > 1_000) * CONNECTING_S
    servers_s = (1 + peers) * AROUND_A_SERVER_S + fills * FILLING_S
    return (2 + peers) * (FULL_ROUND_S + around_s) + servers_s
